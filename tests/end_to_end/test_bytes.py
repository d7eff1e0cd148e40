"""`complexity`, `compress --write` and `decompress`: the file is a model again, with the very loss that was printed."""

import json

import pytest
import torch

import bitsandnats as bn
from bitsandnats.compressors import coding

MODULE = """
import torch
import bitsandnats as bn

def task():
    source = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=source)
    model = torch.nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.fill_(0.5), model.bias.zero_()
    return bn.Task.from_module(model, bn.losses.gaussian(1.0), (x, 0.5 * x.sum(1, keepdim=True)))
"""


@pytest.fixture
def reference(tmp_path, monkeypatch):
    (tmp_path / "tasks_of_bytes.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return "tasks_of_bytes:task"


def test_a_language_model_there_and_back(cli, suite, text_file, tmp_path):
    model, file = suite / "step24", tmp_path / "model.bnz"
    written = cli("compress", model, "--text", text_file, "--tolerance", "0.2", "--write", file, "--json").json
    assert written["file_bytes"] == written["bytes"] == file.stat().st_size
    assert abs(written["excess_loss"]) < 0.2
    done = cli("decompress", file, "--like", model, "--out", tmp_path / "decoded")
    assert done.code == 0, done.err
    before = bn.hf.load_task(model, text=text_file)
    after = bn.hf.load_task(tmp_path / "decoded", text=text_file)
    network = coding.load(file)
    assert all(torch.equal(after.center[name], w) for name, w in network.params().items())
    difference = after.all_item_losses(after.center) - before.all_item_losses(before.center)
    assert float(difference.mean()) / before.mean_weight == pytest.approx(written["excess_loss"], abs=1e-6)
    assert "exists" in cli("decompress", file, "--out", tmp_path / "decoded").sentence
    assert not list(tmp_path.glob(".*"))


def test_several_tolerances_and_a_test_text(cli, suite, text_file):
    words = ("complexity", suite / "step24", "--text", text_file, "--test", text_file)
    found = cli(*words, "--tolerance", "0.1,0.5", "--refinements", "spacings", "--json").json["complexity"]
    assert [c["tolerance"] for c in found] == [0.1, 0.5]
    assert found[1]["bytes"] < found[0]["bytes"]
    assert found[0]["test_loss"] == pytest.approx(found[0]["loss"], rel=1e-5)
    assert set(found[0]["sizes"]) == {"bitsandnats", "bzip2 of float32", "bzip2", "xz", "zstd"}


def test_a_plain_module_in_words(cli, reference, tmp_path):
    done = cli("complexity", reference, "--tolerance", "0.05")
    assert done.code == 0, done.err
    assert "bits/parameter" in done.out
    done = cli("compress", reference, "--tolerance", "0.05", "--method", "quantization", "--write", "net.bnz")
    assert done.code == 0, done.err
    assert done.out.startswith("net.bnz: ")
    assert cli("decompress", "net.bnz").code == 0
    weights = torch.load(tmp_path / "net.pt", weights_only=True)
    torch.nn.Linear(3, 1).load_state_dict(weights)


def test_one_sentence(cli, suite, text_file, reference, tmp_path):
    model, file = suite / "step24", tmp_path / "model.bnz"
    for words, said in (
        (("complexity", model, "--tolerance", "-1"), "tolerances above 0"),
        (("complexity", model, "--method", "best"), "method among"),
        (("complexity", reference, "--test", text_file), "no --test beside"),
        (("complexity", reference, "--tolerance", "1e-14"), "a tolerance that a coarse network meets"),
        (("compress", reference, "--write", file, "--tolerance", "0.1,0.2"), "one --tolerance"),
        (("compress", reference, "--write", file, "--fold"), "no --fold beside --write"),
        (("compress", reference, "--write", tmp_path / "no" / "file.bnz"), "no folder"),
        (("decompress", tmp_path / "no.bnz"), "No such file"),
        (("decompress", text_file), "something else"),
    ):
        assert said in cli(*words).sentence
    cli("compress", reference, "--tolerance", "0.1", "--write", file)
    assert "architecture" in cli("decompress", file, "--like", model).sentence
    data = file.read_bytes()
    file.write_bytes(data[:-3])
    assert "checksum" in cli("decompress", file).sentence
    file.write_bytes(data[:3] + b"\7" + data[4:])
    assert "version 7" in cli("decompress", file).sentence


def test_custom_code_is_refused(suite, tmp_path):
    from bitsandnats.errors import ModelError
    from bitsandnats.hf.coded import check_config

    config = json.loads((suite / "step24" / "config.json").read_text())
    check_config(json.dumps(config))
    with pytest.raises(ModelError, match="custom code"):
        check_config(json.dumps({**config, "auto_map": {"AutoModel": "modeling.Model"}}))
