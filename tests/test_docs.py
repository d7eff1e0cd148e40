"""What the documentation says can be done, done: README's code, the verbs and options, the links, the skeletons."""

import re
from pathlib import Path

import pytest
import typer

from bitsandnats.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
COMMANDS = typer.main.get_command(app).commands


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def slug(heading: str) -> str:
    """A heading's anchor, as Markdown renderers make it."""
    plain = re.sub(r"[`*]|\\", "", heading).strip().lower()
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", plain))


def test_readme_code_runs_and_finds_the_known_answer() -> None:
    code = blocks(ROOT / "README.md", "python")
    assert len(code) == 1
    names: dict = {}
    exec(code[0], names)
    estimate, critical = names["estimate"], names["critical"]
    assert abs(estimate.llc - 4) < 0.5  # the law of the finite step adds 5 %
    assert estimate.verdict.status == "usable"
    assert critical.level is not None
    assert critical.level > 4


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_verbs_in_the_documentation_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    written = re.findall(r"`bitsandnats ([a-z]+)", text)
    for block in blocks(page, "console"):
        written += re.findall(r"^bitsandnats ([a-z]+)", block, re.MULTILINE)
    assert set(written) <= set(COMMANDS)


def test_command_line_page_lists_every_verb_and_exactly_its_options() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert set(sections) == set(COMMANDS)
    shared = set(re.findall(r"^\| `(--[a-z-]+)`", sections["llc"].split("### Options of sampling")[1], re.MULTILINE))
    for verb, command in COMMANDS.items():
        own = sections[verb].split("### ")[0]
        said = {o for row in re.findall(r"^\| (`--.*?) \|", own, re.MULTILINE) for o in re.findall(r"--[a-z-]+", row)}
        if "options of sampling" in own:
            said |= shared
        real = {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")} - {"--help"}
        assert said == real, verb


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http", "mailto")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


@pytest.mark.parametrize("name", ["sampler", "compressor", "observable"])
def test_contributing_shows_the_skeletons_as_they_are(name: str) -> None:
    skeleton = (ROOT / "examples" / "skeletons" / f"{name}.py").read_text(encoding="utf-8")
    assert skeleton in blocks(ROOT / "CONTRIBUTING.md", "python")


def test_documented_reasons_are_those_of_the_verdict() -> None:
    """Every reason that the verdict can print has its heading in the trust page."""
    code = (ROOT / "src" / "bitsandnats" / "estimators" / "verdict.py").read_text(encoding="utf-8")
    page = " ".join((ROOT / "docs" / "trust.md").read_text(encoding="utf-8").replace("\\*", "*").split())
    for phrase in (
        "diverged and no average is given",
        "exceeds the number of parameters, which no sampled basin can",
        "the step is unstable",
        "the step inflates the variance",
        "the draws left the basin",
        "the chains disagree",
        "effective draws",
        "along the trace",
        "the standard error is",
        "w* is not a minimum of the sampled loss",
        "λ̂ is negative",
        "of what weight noise alone gives",
        "the step's statistics were not kept",
        "finite steps and gradient noise may add",
        "of the proposals are accepted",
        "a Metropolis test would accept only",
        "the step λ̂ changes by",
        "two chains are copies of each other",
        "too few draws, or a loss that never moved",
        "three standard errors",
        "the chains are not stationary",
        "it depends on the pull",
        "the preconditioner adapts while it draws",
        "how far it depends on the pull is not known",
        "nothing pulls the draws back (γ = 0)",
        "of the dimensions are still spreading",
        "no bound on the bias of this sampler's step is known",
    ):
        assert phrase in code, phrase
        assert phrase in page, phrase
