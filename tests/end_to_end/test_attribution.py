"""Influence, kernel, susceptibility and refined λ̂ from the command line end in a page to explore."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("altair")

from bitsandnats.recipes.attribution import maps
from bitsandnats.store import open_run

LOOKS = ["--looks", "8", "--items", "8"]


@pytest.fixture(autouse=True)
def without_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "umap_there", lambda: False)  # it takes half a minute to compile


def explored(folder: Path) -> dict[str, object]:
    """The data of each section of a run's page."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'class="note">Not shown' not in page
    found = re.findall(r'<script type="application/json" id="explore-data-([^"]+)">(.*?)</script>', page, re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def test_influence_of_tokens(cli, suite, llc_options, tmp_path):
    out, table = tmp_path / "run", tmp_path / "influence.parquet"
    words = ["--tokens", "train", "--queries", "3", "--export", table, *LOOKS, *llc_options]
    done = cli("influence", suite / "step24", "--out", out, *words)
    assert done.code == 0, done.err
    sections = explored(out)
    assert list(sections) == ["influence", "influence-matrix", "tokens-train"]
    tokens = sections["tokens-train"]["items"][0]["tokens"]
    assert len(tokens) == 16
    assert any("the" in token for item in sections["tokens-train"]["items"] for token in item["tokens"])
    pandas = pytest.importorskip("pandas")
    assert {"bif", "bif_normalised", "query_item", "train_token"} <= set(pandas.read_parquet(table).columns)
    before = (out / "report.html").read_bytes()
    assert cli("report", out).code == 0
    assert (out / "report.html").read_bytes() == before


def test_a_kernel_with_and_without_all_pairs(cli, suite, llc_options, tmp_path, monkeypatch):
    assert cli("kernel", suite / "step24", "--out", tmp_path / "pairs", *LOOKS, *llc_options).code == 0
    monkeypatch.setattr(maps, "MATRIX", 7)
    assert cli("kernel", suite / "step24", "--out", tmp_path / "traces", *LOOKS, *llc_options).code == 0
    both = [explored(tmp_path / name)["map-inputs"] for name in ("pairs", "traces")]
    assert both[0]["near"] == both[1]["near"]
    assert "traces" in open_run(tmp_path / "traces").tree("step24", "attribution").children
    assert len(both[0]["texts"]) == 8
    sentence = cli("kernel", suite / "step24", "--export", tmp_path / "k.parquet", *LOOKS, *llc_options).sentence
    assert "no --export beside --items above 7" in sentence


def test_susceptibility_of_tokens(cli, suite, llc_options, text_file, tmp_path):
    words = ["--components", "layer.*.head.*", "--probe", f"animals={text_file}", "--per", "token", "--context", "16"]
    done = cli("susceptibility", suite / "step24", "--out", tmp_path / "run", *words, *LOOKS, *llc_options)
    assert done.code == 0, done.err
    sections = explored(tmp_path / "run")
    assert list(sections) == ["responses", "tokens-susceptibility"]
    assert sections["responses"]["rows"] == ["layer.0.head.0", "layer.0.head.1"]
    assert sections["responses"]["probes"] == ["animals"]


def test_refined_llc_over_a_series(cli, suite, llc_options, text_file, tmp_path):
    out, table = tmp_path / "run", tmp_path / "refined.parquet"
    words = ["--component", "layer.*.head.1,all", "--data", f"other={text_file}", "--revisions", "step8,step24"]
    done = cli("llc", suite, "--out", out, "--export", table, "--context", "16", *words, *llc_options)
    assert done.code == 0, done.err
    rows = open_run(out).summary()["refined"]
    assert len(rows) == 2 * 2 * 2
    assert {row["component"] for row in rows} == {"layer.0.head.1", "all"}
    for row in rows[:2]:
        stored = open_run(out).tree(row["checkpoint"], row["unit"])
        assert (stored.attrs["component"], stored.attrs["data"]) == (row["component"], row["data"])
    assert "Refined λ̂ along the series" in (out / "report.html").read_text(encoding="utf-8")
    assert len(pytest.importorskip("pandas").read_parquet(table)) == 8
    sentence = cli("llc", suite / "step24", "--data", "all=x").sentence
    assert "a name of letters and digits other than all" in sentence
