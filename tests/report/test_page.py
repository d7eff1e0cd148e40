import html.parser
import json
import re
import struct
import xml.etree.ElementTree as ElementTree

import pytest

from bitsandnats.errors import StoreError
from bitsandnats.report import page, write_report

HOSTILE = '</script><script>window.__errors.push("x")</script><img src="http://example.invalid/x" onerror="1">'


class Reader(html.parser.HTMLParser):
    """Collects elements, texts and the contents of JSON scripts."""

    def __init__(self):
        super().__init__()
        self.elements, self.open, self.texts, self.json = [], [], [], {}

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "img"):
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tag, attrs = self.open[-1] if self.open else ("", {})
        if attrs.get("type") == "application/json":
            self.json[attrs["id"]] = json.loads(data)
        elif tag not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.texts))


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def report(stored):
    return write_report(stored)


def test_the_page_is_whole_and_loads_nothing(report):
    reader = read(report.read_text(encoding="utf-8"))
    for tag, attrs in reader.elements:
        for name in ("src", "href", "data", "action", "srcset", "poster"):
            assert not re.match(r"\s*(https?:)?//", attrs.get(name) or ""), (tag, attrs)
        assert not (tag == "script" and "src" in attrs)
    policy = next(attrs["content"] for tag, attrs in reader.elements if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert ("html", {"lang": "en"}) in reader.elements
    assert [tag for tag, _ in reader.elements].count("h1") == 1


def test_the_page_says_what_was_found(report):
    reader = read(report.read_text(encoding="utf-8"))
    for words in (
        *(
            "Usable with caution",
            "8 of 11 checkpoints were sampled right",
            "1 usable, 8 usable with caution, 2 not usable",
        ),
        *("chains disagree (R̂ 1.31 > 1.1)", "146.1 ± 3.9", "≤ 4", "6.82†", "min(n/ln n, 3000)", "7.78×10⁻⁶"),
        *("bitsandnats demo --out runs/demo", "7 min 11 s", "How to read this page", "noise-only control", "2.13.0"),
        *(
            "layer norms folded into the next linear map",
            "step ≥ 1",
            "held-out text: 32 items, 4064 tokens",
        ),
    ):
        assert words in reader.text, words
    assert reader.text.index("Usable with caution") < reader.text.index("Findings") < reader.text.index("Results")
    charts = [attrs for _, attrs in reader.elements if attrs.get("class") == "chart"]
    assert [f"spec-{chart['data-name']}" for chart in charts] == list(reader.json)
    assert all(len(chart["data-label"]) > 40 for chart in charts)


def test_figures_are_stored_as_svg_and_png(report):
    names = [f"{name}.{ext}" for name in page_names(report) for ext in ("png", "svg")]
    assert sorted(path.name for path in (report.parent / "figures").iterdir()) == sorted(names)
    for path in (report.parent / "figures").iterdir():
        content = path.read_bytes()
        assert len(content) > 8_000
        if path.suffix == ".png":
            width, height = struct.unpack(">II", content[16:24])
            assert content.startswith(b"\x89PNG")
            assert width > 900
            assert height > 500
        else:
            root = ElementTree.fromstring(content)
            assert root.tag.endswith("svg")
            assert b"NaN" not in content
    traces = (report.parent / "figures" / "traces.svg").read_text(encoding="utf-8")
    assert len(re.findall(r'stroke="#0072b2"', traces)) == 2 * 11 + 1  # burn-in, kept draws; legend


def page_names(report):
    return [name.removeprefix("spec-") for name in read(report.read_text(encoding="utf-8")).json]


def test_running_again_gives_the_same_page_and_leaves_nothing_behind(report):
    before = report.read_text(encoding="utf-8")
    assert write_report(report.parent, images=False) == report
    assert strip(report.read_text(encoding="utf-8")) == strip(before)
    assert not list(report.parent.rglob("*.partial"))


def strip(text):
    """The page without the running numbers that altair gives its views."""
    return re.sub(r"(view|param|concat|layer)_\d+", "", text)


def test_hostile_words_stay_words(summary, tmp_path, make_run):
    summary["title"] = summary["verdict"]["text"] = summary["rule"] = HOSTILE
    summary["findings"] = summary["model"]["notes"] = [HOSTILE]
    summary["reasons"]["gamma"] = summary["provenance"]["command"] = summary["model"]["unit"] = HOSTILE
    summary["settings"]["start"] = HOSTILE
    summary["schemes"] = ["../x"]
    for at, checkpoint in enumerate(summary["checkpoints"]):
        checkpoint |= {"label": HOSTILE + str(at), "critical": {"../x": checkpoint["critical"]["quantize"]}}
        checkpoint["llc"]["verdict"]["reasons"] = [HOSTILE]
    for fit in summary["fits"]:
        fit |= {"scheme": "../x", "labels": [c["label"] for c in summary["checkpoints"]]}
    run = make_run(tmp_path / "run", summary, {})
    path = write_report(run, images=False)
    text = path.read_text(encoding="utf-8")
    reader = read(text)
    assert HOSTILE not in text
    assert HOSTILE in reader.text
    assert "img" not in [tag for tag, _ in reader.elements]
    assert len([tag for tag, _ in reader.elements if tag == "script"]) == 3 + len(reader.json)
    assert all("/" not in name for name in reader.json)
    assert {p.name for p in run.iterdir()} == {"run.toml", "summary.json", "report.html"}


def test_a_bare_summary_is_enough(tmp_path, make_run):
    path = write_report(make_run(tmp_path / "run", {"schema": 1, "kind": "llc", "checkpoints": []}, {}))
    text = read(path.read_text(encoding="utf-8")).text
    assert "No verdict" in text
    assert not (path.parent / "figures").exists()


def test_an_unfinished_run_shows_what_there_is(summary, tmp_path, make_run):
    summary["checkpoints"][3] |= {"llc": None, "loss": None, "critical": {}, "failed": "the loss is not finite at w*"}
    summary["checkpoints"][4] |= {"llc": None, "critical": {"quantize": None}}
    text = read(write_report(make_run(tmp_path / "run", summary, {}), images=False).read_text(encoding="utf-8")).text
    assert "failed: the loss is not finite at w*" in text
    assert "holds no readable data of them: step0/llc, step0/quantize" in text


def test_a_run_without_summary_is_refused(tmp_path):
    (tmp_path / "run.toml").write_text("", encoding="utf-8")
    with pytest.raises(StoreError):
        write_report(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(summary, tmp_path, make_run):
    run = make_run(tmp_path / "run", summary, {})
    (run / "report.html").mkdir()
    with pytest.raises(StoreError, match=r"expected to write .*report\.html"):
        write_report(run, images=False)


def test_the_script_cannot_be_ended_early():
    bundle = page.javascript().lower()
    assert "</script" not in bundle
    assert "<!--" not in bundle


def test_the_verdict_is_said_once():
    split = page.split_verdict({"status": "not usable", "text": "not usable: every chain diverged."})
    assert split == {"headline": "Not usable", "rest": "Every chain diverged."}
    assert page.split_verdict({})["headline"] == "No verdict"
