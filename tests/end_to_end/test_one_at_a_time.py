"""Two commands on one run folder: the second is told who works there, and nothing is changed."""

import os

import pytest

from bitsandnats.store import locked

STUDIES = [
    "compressibility",
    "dln-benchmark",
    "grokking",
    "influence-retraining",
    "loss-kernel",
    "refined-llc",
    "susceptibility",
]


def refused(cli, folder, *words):
    """The command is refused while another process holds the folder, and leaves nothing there but the lock."""
    folder.mkdir()
    with locked(folder, "run"):
        said = cli(*words, "--out", folder).sentence
    assert f"got one held by process {os.getpid()} on " in said
    assert sorted(p.name for p in folder.iterdir()) == [".locks"]


@pytest.mark.parametrize("verb", ["llc", "llc --component layer.0,all", "compress", "influence", "kernel", "study"])
def test_a_measurement(verb, cli, suite, llc_options, text_file, tmp_path):
    name, *options = verb.split()
    model = suite if name == "study" else suite / "step24"
    short = [] if name == "compress" else llc_options
    refused(cli, tmp_path / "run", name, model, *options, "--text", text_file, *short)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_of_the_papers(name, cli, tmp_path):
    refused(cli, tmp_path / "run", "reproduce", name, "--small")
