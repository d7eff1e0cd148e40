import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import bitsandnats as bn
from bitsandnats.errors import StoreError
from bitsandnats.store import content_key, create_run, open_run, write_json, write_text
from bitsandnats.store import run as store

PROVENANCE = {"version": "1", "started": "now"}


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path / "run", {"a": 1, "b": {"c": 2.5, "none": None}}, provenance=PROVENANCE)


@pytest.fixture
def tree():
    draws = xr.Dataset({"loss": (("chain", "draw"), np.arange(6.0).reshape(2, 3))}, attrs={"note": "λ̂"})
    return xr.DataTree.from_dict({"draws": draws, "burn_in": draws.isel(draw=slice(0, 0))})


def base(module, data, loss=None):
    return bn.Task.from_module(module, loss or bn.losses.gaussian(0.5), data)


@pytest.fixture
def parts(build_mlp, waves):
    return build_mlp(2, 4, 1, dtype=torch.float64), waves


def key_of(task, options=None):
    return content_key(task, {"seed": 0} if options is None else options)


def same(a, b):
    return a.matches(b.digest, list(b.behaviour))


def test_key_is_stable(parts):
    module, data = parts
    first = key_of(base(module, data))
    # another closure that does the same, another copy of data and module
    import copy

    again = key_of(
        base(copy.deepcopy(module), tuple(t.clone() for t in data), lambda m, b: ((m(b[0]) - b[1]) ** 2).sum(1) / 0.5)
    )
    assert same(first, again)
    assert same(again, first)


def test_key_changes_with_everything_that_matters(parts):
    module, data = parts
    first = key_of(base(module, data))
    task = base(module, data)
    bumped = {k: p.clone() for k, p in task.center.items()}
    bumped["2.bias"][0] = torch.nextafter(bumped["2.bias"][0], torch.tensor(9.0, dtype=torch.float64))
    x, y = data
    late = y.clone()
    late[-1] += 1e-9
    fewer = (x[:-1], y[:-1])
    others = {
        "one bit of a weight": key_of(task.at(bumped)),
        "one value of the data": key_of(base(module, (x, late))),
        "the data's length": key_of(base(module, fewer)),
        "options": key_of(task, {"seed": 1}),
        "the loss": key_of(base(module, data, bn.losses.gaussian(0.6))),
        "a loss that agrees at w*": key_of(base(module, data, _same_at_center(module))),
    }
    for what, other in others.items():
        assert not same(first, other), what


def _same_at_center(module):
    """A loss with the values of another at w*, and other values around it."""

    def loss(model, batch):
        own = ((model(batch[0]) - batch[1]) ** 2).sum(1) / 0.5
        with torch.no_grad():
            reference = ((module(batch[0]) - batch[1]) ** 2).sum(1) / 0.5
        return reference + 3 * (own - reference)

    return loss


def test_key_of_fixed_weights_and_masks(build_mlp):
    x = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0))
    data = {"x": x, "keep": torch.ones(6, 4)}
    model = build_mlp(3, 1)

    def loss(model, batch):
        return model(batch["x"]).squeeze(-1) ** 2

    plain = bn.Task.from_module(model, loss, data)

    def weight(batch: Any) -> torch.Tensor:
        return batch["keep"] * (torch.arange(4) < 3)

    masked = bn.Task.from_module(model, loss, data, weight=weight)
    assert not same(key_of(plain), key_of(masked))
    assert not same(key_of(plain), key_of(bn.Task.from_module(model, loss, data, unit="sequence")))
    model[0].bias.requires_grad_(False)
    frozen = key_of(bn.Task.from_module(model, loss, data))
    assert not same(key_of(plain), frozen)
    with torch.no_grad():
        model[0].bias.add_(1)
    assert not same(frozen, key_of(bn.Task.from_module(model, loss, data)))


def test_key_of_buffers(build_mlp, waves):
    """Running statistics are part of the function."""
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1)).double().eval()
    first = key_of(base(net, waves))
    dict(net.named_buffers())["1.running_mean"].add_(0.5)
    assert not same(first, key_of(base(net, waves)))


def test_key_does_not_know_the_order_of_names(wave_task):
    turned = wave_task.at(dict(reversed(wave_task.center.items())))
    assert key_of(turned).digest == key_of(wave_task).digest
    assert same(key_of(turned), key_of(wave_task))


def test_round_trip(run, tree, wave_task):
    key = key_of(wave_task)
    assert run.finished("step1", "llc", key) is None
    assert not run.has("step1", "llc")
    run.finish("step1", "llc", key, tree)
    assert run.has("step1", "llc")
    stored = run.finished("step1", "llc", key)
    assert stored["draws"].dataset.equals(tree["draws"].dataset)
    assert stored["draws"].attrs == tree["draws"].attrs
    assert stored["burn_in"].sizes["draw"] == 0
    assert open_run(run.path).tree("step1", "llc")["draws"].dataset.equals(tree["draws"].dataset)
    assert run.finished("step1", "llc", content_key(wave_task, {"seed": 1})) is None
    assert run.finished("step2", "llc", key) is None
    run.finish("step1", "llc", key, tree)  # once more over it
    left = [p.name for p in (run.path / "units" / "step1").iterdir()]
    assert left == ["llc"]


def test_a_unit_is_there_whole_or_not_at_all(run, tree, wave_task, monkeypatch):
    key = key_of(wave_task)
    with monkeypatch.context() as patch:
        patch.setattr("bitsandnats.store.run.write_json", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run.finish("step1", "llc", key, tree)
    assert not run.has("step1", "llc")
    assert run.finished("step1", "llc", key) is None
    assert not list((run.path / "units" / "step1").iterdir())
    # a killed process leaves its hidden folder behind: ignored
    (run.path / "units" / "step1" / ".llc.12345678" / "data.zarr").mkdir(parents=True)
    assert not run.has("step1", "llc")
    run.finish("step1", "llc", key, tree)
    assert run.has("step1", "llc")


def test_leftovers_go_before_the_unit_counts_as_finished(run, tree, wave_task, monkeypatch):
    """Or a kill between the two would leave them for ever: a finished unit is not made again."""
    key = content_key(wave_task, {"a": 1})
    leftover = run.unit_folder("step1", "llc").with_name(".llc.0badcafe")
    (leftover / "data.zarr").mkdir(parents=True)
    rename = store.os.rename

    def watched(made, final):
        assert not leftover.exists()
        rename(made, final)

    monkeypatch.setattr(store.os, "rename", watched)
    run.finish("step1", "llc", key, tree)
    assert run.finished("step1", "llc", key) is not None


def test_an_old_unit_survives_a_failed_replacement(run, tree, wave_task, monkeypatch):
    key = key_of(wave_task)
    run.finish("step1", "llc", key, tree)
    with monkeypatch.context() as patch:
        patch.setattr(
            "bitsandnats.store.run.write_json", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
        with pytest.raises(StoreError, match=r"expected a folder that can be written .* got No space left; make room"):
            run.finish("step1", "llc", key, tree)
    assert run.finished("step1", "llc", key)["draws"].dataset.equals(tree["draws"].dataset)


@pytest.mark.parametrize("harm", ["unit.json cut", "no unit.json", "no data", "a chunk cut", "a chunk lost"])
def test_damaged_units_are_made_again(harm, run, tree, wave_task):
    key = key_of(wave_task)
    run.finish("step1", "llc", key, tree)
    folder = run.unit_folder("step1", "llc")
    chunk = max((p for p in (folder / "data.zarr").rglob("*") if p.is_file()), key=lambda p: ("loss" in str(p), str(p)))
    if harm == "unit.json cut":
        (folder / "unit.json").write_text('{"digest": "ab')
    elif harm == "no unit.json":
        (folder / "unit.json").unlink()
    elif harm == "no data":
        shutil.rmtree(folder / "data.zarr")
    elif harm == "a chunk cut":
        chunk.write_bytes(chunk.read_bytes()[:-3])
    else:
        chunk.unlink()
    assert run.finished("step1", "llc", key) is None
    with pytest.raises(
        StoreError, match=r"expected a (readable|finished unit) .*; (remove it and run|run the study) again"
    ):
        run.tree("step1", "llc")
    run.finish("step1", "llc", key, tree)
    assert run.finished("step1", "llc", key)["draws"].dataset.equals(tree["draws"].dataset)


@pytest.mark.parametrize("label", ["../../etc", "a/b", ".hidden", "", "..", "step 1", "λ", "org/model@step3"])
def test_labels_stay_inside_the_run(label, run):
    folder = run.unit_folder(label, "llc")
    assert folder.parent.parent == run.path / "units"
    assert not folder.parent.name.startswith(".")


def test_labels_stay_apart(run):
    labels = ["a/b", "a_b", "a b", "a:b", ".a_b", "step1", "step2", "_"]
    assert len({run.unit_folder(label, "llc") for label in labels}) == len(labels)


def test_open_refuses_what_is_no_run(tmp_path):
    with pytest.raises(StoreError, match=r"expected a run folder, got no folder .*nowhere; check the path"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"expected a run folder with run.toml in it"):
        open_run(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"expected a run folder"):
        open_run(tmp_path / "file")


def test_create_again_with_the_same_settings(run):
    again = create_run(run.path, {"a": 1, "b": {"c": 2.5}}, provenance={"started": "later"})
    assert again.settings()["provenance"] == {"started": "later"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"a": 2, "b": {"c": 2.5}}, "a = 2 where the folder has 1"),
        ({"a": 1, "b": {"c": 3.0}}, "b.c = 3.0 where the folder has 2.5"),
        ({"a": 1}, "b.c = None where the folder has 2.5"),
        ({"a": 1, "b": {"c": 2.5}, "new": "x"}, "new = 'x' where the folder has None"),
    ],
)
def test_other_settings_are_refused_by_name(settings, said, run):
    before = (run.path / "run.toml").read_text()
    with pytest.raises(StoreError, match=rf"expected the settings that .* was made with, got {said}; choose another"):
        create_run(run.path, settings, provenance={})
    assert (run.path / "run.toml").read_text() == before


def test_half_written_run(run):
    (run.path / "run.toml").write_text('[settings]\na = "')
    with pytest.raises(StoreError, match=r"expected a readable .*run.toml"):
        create_run(run.path, {"a": 1}, provenance={})
    (run.path / "run.toml").unlink()
    write_json(run.path / "summary.json", {})
    with pytest.raises(StoreError, match=r"expected run.toml in the run folder .* got results without it"):
        create_run(run.path, {"a": 1}, provenance={})
    (run.path / "summary.json").write_text("{")
    with pytest.raises(StoreError, match=r"expected a readable .*summary.json"):
        run.summary()


def test_unwritable(tmp_path):
    """A path below a regular file: not even the superuser can write there."""
    (tmp_path / "file").write_text("keep me")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(StoreError, match=r"expected a folder that can be written at .*; choose another --out"):
            create_run(path, {"a": 1}, provenance={})
    assert (tmp_path / "file").read_text() == "keep me"


def test_json_has_no_nan(tmp_path):
    write_json(
        tmp_path / "a.json",
        {
            "x": float("nan"),
            "y": [1.0, float("inf"), np.float64("nan")],
            "z": {"i": np.int64(3), "t": torch.tensor(2.0)},
        },
    )
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None, "y": [1.0, None, None], "z": {"i": 3, "t": 2.0}}


def test_text_is_written_at_once(tmp_path, monkeypatch):
    write_text(tmp_path / "a", "old")
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(StoreError, match=r"No space left"):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
