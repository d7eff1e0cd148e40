"""References to the hub: a cache of its own layout, and a hub on this machine that is asked over HTTP."""

import hashlib
import shutil
import threading
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

import bitsandnats as bn
from bitsandnats.errors import DataError, InputError, ModelError
from bitsandnats.hf import find_series, load_model, load_task, load_tokenizer
from bitsandnats.hf.fetch import Supply, ensure, give_up
from bitsandnats.hf.names import HubName, near, parse, step_of
from bitsandnats.hf.revisions import select

CONTEXTS = torch.arange(160).view(10, 16)


@pytest.fixture
def put(hub_cache, put_in):
    return lambda model, revision, folder: put_in(hub_cache, model, revision, folder)


@pytest.fixture
def pythia(fake_hub, suite_folder):
    """Four revisions and main on the hub, none cached."""
    steps = {f"step{s}": suite_folder / f"step{s}" for s in (0, 2, 4, 6)}
    fake_hub.models["lab/tiny-70m"] = {"main": suite_folder / "step6", **steps}
    fake_hub.models["lab/tiny-160m"] = {"main": suite_folder / "step6"}
    return fake_hub


def wait(thread: threading.Thread | None):
    assert thread is not None
    thread.join()


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


# --- names


def test_references():
    assert parse("org/name") == HubName("org/name")
    assert parse("gpt2@main") == HubName("gpt2", "main")
    assert parse("org/name@refs/pr/1") == HubName("org/name", "refs/pr/1")
    assert parse("org/name/a/model-q4.gguf@x") == HubName("org/name", "x", "a/model-q4.gguf")
    assert str(parse("org/name/m.gguf@x")) == "org/name/m.gguf@x"
    for wrong in ("a/b/c", "../x", "/abs/path", "org/", "org/name@", "a b", "x--y", "model.gguf"):
        assert parse(wrong) is None, wrong


def test_steps():
    names = {"step512": 512, "checkpoint-512": 512, "512": 512, "main": None, "stage1-step1000-tokens5B": 1000,
             "step_7": 7, "run_7": 7, "Step12-final": 12}  # fmt: skip
    assert {name: step_of(name) for name in names} == names


def test_nearest():
    there = [f"step{s}" for s in (0, 512, 1000, 2000, 3000)] + ["main"]
    assert near("step1001", there, 2) == ["step1000", "step512"]
    assert near("mian", there) == ["main"]
    assert near("EleutherAI/pythia-70", ["EleutherAI/pythia-70m", "x/y"]) == ["EleutherAI/pythia-70m"]


# --- revisions

THERE = ["main", *(f"step{s}" for s in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 20001, 1000)))]


@pytest.mark.parametrize(
    ("spec", "steps"),
    [
        ("step1000..step4000", [1000, 2000, 3000, 4000]),
        ("step1000..4000", [1000, 2000, 3000, 4000]),
        ("step999..step2001", [1000, 2000]),
        ("step2000,step512", [512, 2000]),
        ("step*0000", [10000, 20000]),
        ("step?", [0, 1, 2, 4, 8]),
        ("step0..step20000:4", [0, 32, 1000, 20000]),
        ("step*:2", [0, 20000]),
        ("step1..step4,step?,step8", [0, 1, 2, 4, 8]),
        ("step1000..step3000:9", [1000, 2000, 3000]),
    ],
)
def test_what_a_specification_selects(spec, steps):
    assert select(spec, THERE, "here") == [f"step{s}" for s in steps]


def test_log_spacing_is_even_in_the_logarithm():
    chosen = [step_of(n) or 0 for n in select("step1000..step20000:6", THERE, "here")]
    assert len(chosen) == 6
    assert (chosen[0], chosen[-1]) == (1000, 20000)
    ratios = [b / a for a, b in pairwise(chosen)]
    assert max(ratios) / min(ratios) < 1.35  # even in the logarithm, as far as whole thousands go


def test_main_comes_last_and_other_schemes_of_names_work():
    assert select("main,step1", THERE, "here") == ["step1", "main"]
    olmo = [f"stage1-step{s}-tokens{s // 100}B" for s in (1000, 2000, 10000)] + ["stage2-step1000-tokens3B"]
    assert select("stage1-step1000..stage1-step2000", olmo, "here") == olmo[:2]


@pytest.mark.parametrize("spec", ["", "step1..", "step9..step1", "step1..epoch3", "step*:0", "step1:x"])
def test_a_specification_that_cannot_be_read(spec):
    with pytest.raises(InputError, match=r"^expected .*, got .*; "):
        select(spec, THERE, "here")


def test_a_range_or_a_name_without_a_match():
    with pytest.raises(DataError, match=r"expected step30000\.\.step40000 among .* lab/m, got none; there are step0,"):
        select("step30000..step40000", THERE, "lab/m")
    with pytest.raises(DataError, match="got none, near it step1000, step512, step256; "):
        select("step1001", [n for n in THERE if n != "main"], "lab/m")


# --- the local cache, without a network


def test_what_is_cached_is_used_without_a_network(put, suite_folder):
    snapshot = put("lab/tiny", "step4", suite_folder / "step4")
    put("lab/tiny", "main", suite_folder / "step6")
    task = load_task("lab/tiny@step4", text=CONTEXTS)
    local = load_task(suite_folder / "step4", text=CONTEXTS)
    assert all(torch.equal(w, local.center[name]) for name, w in task.center.items())
    assert task.source == f"lab/tiny@step4 (commit {snapshot.name[:12]})"
    assert local.source is None
    assert load_tokenizer("lab/tiny").vocab_size == 270
    final, same = (load_model(m)[0].state_dict() for m in ("lab/tiny", suite_folder / "step6"))
    assert all(torch.equal(w, same[name]) for name, w in final.items())


def test_a_series_in_the_cache_alone(put, suite_folder):
    for step in (0, 2, 4):
        put("lab/tiny", f"step{step}", suite_folder / f"step{step}")
    series = find_series("lab/tiny", "step0..step10")
    assert [(c.label, c.step, c.reference) for c in series] == [(f"step{s}", s, f"lab/tiny@step{s}") for s in (0, 2, 4)]
    assert [c.label for c in find_series("lab/tiny", "step4,step0")] == ["step0", "step4"]
    assert [(c.label, c.step) for c in find_series("lab/tiny@step2")] == [("step2", 2)]
    with pytest.raises(DataError, match=r"in the local cache .*the hub was not asked.*, got none; there are step0"):
        find_series("lab/tiny", "step8..step10")
    with pytest.raises(InputError, match="revisions in one place"):
        find_series("lab/tiny@step2", "step0..step4")


def test_revisions_of_a_folder(suite_folder):
    assert [c.label for c in find_series(suite_folder, "step2..step6:2")] == ["step2", "step6"]
    with pytest.raises(DataError, match="expected step9"):
        find_series(suite_folder, "step9")


def test_loading_writes_nothing(put, hub_cache, suite_folder):
    put("lab/tiny", "step4", suite_folder / "step4")

    def contents():
        return {p: (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).digest())
                for p in hub_cache.rglob("*") if p.is_file()}  # fmt: skip

    before = contents()
    load_task("lab/tiny@step4", text=CONTEXTS, fold=True)
    assert contents() == before


def test_not_cached_and_no_network(put, suite_folder):
    put("lab/tiny-70m", "step4", suite_folder / "step4")
    say = r"expected lab/tiny-70@step4 in the local cache .*got nothing of it, and no network.*it holds lab/tiny-70m; "
    with pytest.raises(ModelError, match=say):
        load_model("lab/tiny-70@step4")
    with pytest.raises(ModelError, match=r"of lab/tiny-70m it holds step4; connect once"):
        load_model("lab/tiny-70m@step5")


def test_a_part_of_a_model_in_the_cache(put, suite_folder):
    snapshot = put("lab/tiny", "main", suite_folder / "step6")
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="got only a part of it"):
        load_model("lab/tiny")


# --- a hub that answers


def test_fetched_once_then_cached(pythia, hub_cache, suite_folder):
    task = load_task("lab/tiny-70m@step2", text=CONTEXTS)
    local = load_task(suite_folder / "step2", text=CONTEXTS)
    assert all(torch.equal(w, local.center[name]) for name, w in task.center.items())
    home = hub_cache / "models--lab--tiny-70m"
    assert {p.name for p in (home / "refs").iterdir()} == {"step2"}
    asked = len(pythia.asked)
    load_task("lab/tiny-70m@step2", text=CONTEXTS)
    assert len(pythia.asked) == asked


def test_only_one_form_of_the_weights_is_fetched(pythia, tmp_path, suite_folder, hub_cache):
    folder = shutil.copytree(suite_folder / "step6", tmp_path / "both")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "training.log").write_text("much")
    pythia.models["lab/both"] = {"main": folder}
    load_model("lab/both")
    kept = {p.name for p in ensure("lab/both").folder.iterdir()}
    assert "model.safetensors" in kept
    assert not kept & {"pytorch_model.bin", "training.log"}


def test_the_hub_lists_revisions(pythia):
    assert [c.label for c in find_series("lab/tiny-70m", "step0..step4")] == ["step0", "step2", "step4"]
    with pytest.raises(DataError, match=r"among the checkpoints of lab/tiny-70m, got none; there are step0, step2"):
        find_series("lab/tiny-70m", "step100..step200")


def test_unknown_model_with_near_matches(pythia):
    say = r"got no lab/tiny-71m \(or a private one\); near it: lab/tiny-70m, lab/tiny-160m; check"
    with pytest.raises(ModelError, match=say):
        load_model("lab/tiny-71m")


def test_unknown_revision_with_near_matches(pythia):
    with pytest.raises(ModelError, match=r"a revision of lab/tiny-70m, got no revision step5; near it: step4, step6, "):
        load_model("lab/tiny-70m@step5")


def test_gated_without_a_token(pythia):
    pythia.gated.add("lab/tiny-160m")
    with pytest.raises(ModelError, match=r"got a gated one; accept its terms at .*lab/tiny-160m and set HF_TOKEN"):
        load_model("lab/tiny-160m")


def test_a_repository_without_a_model(pythia, tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "README.md").write_text("nothing")
    pythia.models["lab/odd"] = {"main": tmp_path / "odd"}
    with pytest.raises(ModelError, match=r"expected a model .* in lab/odd, got only README.md"):
        load_model("lab/odd")


def test_the_hub_cannot_be_reached(pythia, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"got nothing of it, and the hub cannot be reached .*; connect once"):
        load_model("lab/tiny-70m")


def test_a_misspelt_path_is_not_looked_for_on_the_hub(pythia, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ModelError, match="a model's folder at runs/suite"):
        load_model("runs/suite")
    assert pythia.asked == []


# --- fetched ahead, and given up


def test_only_what_was_fetched_for_the_run_is_deleted(pythia, hub_cache, tmp_path, suite_folder):
    load_model("lab/tiny-70m@step0")  # the user's own
    home, ledger = hub_cache / "models--lab--tiny-70m", tmp_path / "ledger"
    mine = files(home)
    references = {f"step{s}": f"lab/tiny-70m@step{s}" for s in (0, 2, 4)}
    supply = Supply(references, ledger, evict=True)
    for label in references:
        wait(supply.ahead(label))
        load_model(references[label])
    assert len(files(home)) > len(mine)
    for label in references:
        supply.finished(label)
    left = files(home)
    assert mine <= left
    assert not [f for f in left - mine if f.startswith(("blobs", "snapshots", "refs", "trees"))]
    assert list(ledger.iterdir()) == []
    load_model("lab/tiny-70m@step0")


def test_a_blob_that_another_revision_uses_stays(pythia, hub_cache, tmp_path, suite_folder):
    pythia.models["lab/tiny-70m"]["again"] = suite_folder / "step2"
    ledger = tmp_path / "ledger"
    ensure("lab/tiny-70m@step2", ledger)
    ensure("lab/tiny-70m@again")
    assert give_up(ledger, HubName("lab/tiny-70m", "step2")) == 0
    load_model("lab/tiny-70m@again")


def test_without_evicting_all_is_kept(pythia, hub_cache, tmp_path):
    supply = Supply({"step2": "lab/tiny-70m@step2"}, tmp_path / "ledger", evict=False)
    wait(supply.ahead("step2"))
    before = files(hub_cache)
    supply.finished("step2")
    assert files(hub_cache) == before
    assert supply.ahead("no such label") is None


def test_a_fetch_that_fails_ahead_is_said_when_its_turn_comes(pythia, tmp_path):
    supply = Supply({"step5": "lab/tiny-70m@step5"}, tmp_path / "ledger", evict=True)
    wait(supply.ahead("step5"))
    with pytest.raises(ModelError, match="no revision step5"):
        ensure("lab/tiny-70m@step5")


# --- a study over it


def run_study(pythia, tmp_path, text_file, **options):
    return bn.study(
        "lab/tiny-70m", revisions="step0..step6:3", text={"all": text_file, "again": [text_file]}, context=8,
        out=tmp_path / "run",
        settings={"chains": 2, "draws": 8, "burn_in": 4, "batch_size": 4, "gamma": 1000.0, "step_size": 1e-5},
        tolerances=(0.5,), schemes=("quantize(max_abs='largest')",), **options,
    )  # fmt: skip


def test_a_study_of_the_hub(pythia, hub_cache, hub_commit, tmp_path, text_file):
    ensure("lab/tiny-70m@step0")
    mine = files(hub_cache)
    run = run_study(pythia, tmp_path, text_file, evict=True, unit="sequence")
    summary = run.summary()
    assert [(row["label"], row["step"]) for row in summary["checkpoints"]] == [("step0", 0), ("step2", 2), ("step6", 6)]
    commits = [hub_commit("lab/tiny-70m", row["label"])[:12] for row in summary["checkpoints"]]
    assert [row["source"] for row in summary["checkpoints"]] == [
        f"lab/tiny-70m@{label} (commit {commit})"
        for label, commit in zip(("step0", "step2", "step6"), commits, strict=True)
    ]
    assert summary["origin"] == "lab/tiny-70m, revisions step0..step6:3 (3 checkpoints)"
    assert summary["data"]["sampling"]["what"] == "nine tenths of all = text.txt, again = text.txt"
    row = summary["checkpoints"][0]
    assert list(row["subsets"]) == ["all", "again"]
    sizes = [part["items"] for part in row["subsets"].values()]
    mixed = sum(part["loss"] * n for part, n in zip(row["subsets"].values(), sizes, strict=True)) / sum(sizes)
    assert row["loss"] == pytest.approx(mixed, rel=1e-5)
    assert summary["model"]["unit"] == "sequence"
    assert all(row["failed"] is None for row in summary["checkpoints"])
    assert {f for f in files(hub_cache) - mine if "/blobs/" in f or "/snapshots/" in f or "/refs/" in f} == set()
    assert mine <= files(hub_cache)


def test_a_study_keeps_what_it_fetched(pythia, hub_cache, tmp_path, text_file):
    run_study(pythia, tmp_path, text_file)
    refs = hub_cache / "models--lab--tiny-70m" / "refs"
    assert {p.name for p in refs.iterdir()} == {"step0", "step2", "step6"}
    asked = len(pythia.asked)
    again = run_study(pythia, tmp_path, text_file)  # the same command, with all of it cached
    assert len(again.summary()["checkpoints"]) == 3
    assert {path for _, path in pythia.asked[asked:]} == {"/api/models/lab/tiny-70m/refs"}
