"""Documents in a field of JSON lines, read by every verb that measures on text."""

import json

import pytest

MOVE = [
    "--step-size",
    "1e-5",
    "--gamma",
    "1000",
    "--nbeta",
    "30",
    "--chains",
    "2",
    "--draws",
    "12",
    "--batch-size",
    "4",
]
FOLLOW = [*MOVE, "--looks", "6", "--items", "6", "--text-items", "documents", "--json"]


@pytest.fixture
def lines(tmp_path):
    """Forty documents under `body`, of different lengths; nothing under `text`."""
    path = tmp_path / "lines.jsonl"
    rows = [{"body": f"the cat {i} sat by the tree and saw {'more ' * (i % 4)}of them"} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("doctor", ["--items", "documents", "--json"]),
        ("influence", ["--queries", "3", *FOLLOW]),
        ("kernel", FOLLOW),
        ("susceptibility", ["--components", "layer.0", *FOLLOW]),
    ],
)
def test_verbs(verb, options, cli, suite, lines):
    options = [*options, "--probe", f"other={lines}"] if verb == "susceptibility" else options
    options = [*options, "--query", lines] if verb == "influence" else options
    words = [verb, suite / "step24", "--text", lines, "--context", "16"]
    done = cli(*words, "--field", "body", *options)
    assert done.err == ""
    found = json.loads(done.out)
    if verb == "doctor":
        assert "BAD" not in done.out
        assert {f["check"] for f in found["findings"]} > {"determinism", "memory", "order"}
    else:
        assert found["data"]["sampling"]["items"] == 40  # a document each, not the contexts that they fill
    refused = cli(*words, *options)
    said = refused.out if verb == "doctor" else refused.sentence
    assert "field text" in said or "'text'" in said


def test_plan(cli, suite, lines):
    words = ["plan", "--json", "llc", suite / "step24", "--context", "16", *MOVE]
    text = ["--text", lines, "--field", "body", "--items", "documents"]
    assert cli(*words, *text).json["plan"]["shape"]["items"] == 40
