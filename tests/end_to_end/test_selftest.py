"""`bitsandnats selftest`: what passes, what fails, and with which exit code; and `reproduce`'s plan and refusals."""

import dataclasses
import os
import subprocess
import sys

import pytest

from bitsandnats import toys
from bitsandnats.errors import SettingsError
from bitsandnats.recipes import selftest as recipe
from bitsandnats.settings import settings_from

CASES = ("regular", "critical quantization of weights 1, 2, 3", "finite-step law of SGLD at ε κ = 1")


@pytest.fixture
def short(monkeypatch):
    """Three of the cases, and settings that suit the first, found in no time."""

    def settle(task, *, given, target_se):
        fields = {"sampler": "hmc(leapfrogs=8, adapt_steps=40)", "step_size": 0.02, "gamma": 1.0, "chains": 8}
        fields |= {"burn_in": 60, "draws": 300, "batch_size": len(task.data), "mode": "vmap"}
        return settings_from({**fields, **given})

    found = [case for case in recipe._cases() if case.model in CASES]
    monkeypatch.setattr(recipe, "_cases", lambda: found)
    monkeypatch.setattr(recipe, "calibrate", settle)
    return monkeypatch


def test_known_answers_pass(short, cli):
    done = cli("selftest")
    assert done.code == 0, done.err
    lines = [line for line in done.out.splitlines() if line.rstrip().endswith("pass")]
    assert len(lines) == len(CASES)
    assert "FAIL" not in done.out
    assert "not usable" in done.out  # the verdict on a step of that size, whose law is known all the same


def test_as_json(short, cli):
    checks = {check["model"]: check for check in cli("selftest", "--json").json}
    assert set(checks) == set(CASES)
    for check in checks.values():
        assert check["passed"]
        assert check["why"] == ""
    regular = checks["regular"]
    assert (
        regular["interval"][0] < regular["truth"] < regular["interval"][1]
        or abs(regular["estimate"] - regular["truth"]) < 4 * regular["se"]
    )
    assert regular["llc"] == 10
    assert checks[CASES[1]] | {"seconds": 0} == {
        "model": CASES[1],
        "quantity": "level",
        "estimate": 6.0,
        "se": None,
        "truth": 6.0,
        "llc": None,
        "status": None,
        "passed": True,
        "why": "",
        "seconds": 0,
        "interval": None,
    }


def test_a_wrong_answer_fails_with_a_reason_and_exit_code_1(short, cli):
    usual = toys.panel()["regular"]
    wrong = dataclasses.replace(usual, exact=lambda nbeta, gamma: 1.2 * usual.exact(nbeta, gamma))
    short.setattr(recipe, "_cases", lambda: [recipe._posterior("regular", wrong)])
    done = cli("selftest")
    assert done.code == 1
    assert "FAIL" in done.out
    assert "regular: " in done.out
    assert "standard errors from the truth, more than 4" in done.out


def test_what_cannot_be_measured_fails_too(short, cli):
    def refuse(task, *, given, target_se):
        raise SettingsError("expected a, got b; do c")

    short.setattr(recipe, "calibrate", refuse)
    done = cli("selftest", "--json")
    assert done.code == 1
    assert '"estimate": null' in done.out
    assert "expected a, got b; do c" in done.out


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (recipe._Answer(10.0, 0.1, 10.39, "usable"), ""),
        (recipe._Answer(10.0, 0.1, 10.5, "usable"), "5.0 standard errors from the truth, more than 4"),
        (recipe._Answer(10.0, 0.6, 10.0, "usable"), "the standard error is 6.0% of the truth, more than 5%"),
        (recipe._Answer(float("nan"), 0.1, 10.0, "not usable"), "no number came out"),
        (recipe._Answer(10.0, float("nan"), 10.0, "not usable"), "no number came out"),
        (recipe._Answer(10.0, 0.1, 10.0, "not usable", refused=True), ""),
        (
            recipe._Answer(10.0, 0.1, 10.0, "usable", refused=True),
            "its verdict is 'usable' where 'not usable' was expected",
        ),
        (recipe._Answer(6.0, None, 6.0, None), ""),
        (recipe._Answer(8.0, None, 6.0, None), "expected exactly 6, got 8"),
    ],
)
def test_what_passes(answer, said):
    assert recipe._objection(answer) == said


def test_the_panel_is_mostly_singular_and_every_answer_is_known():
    panel = toys.panel()
    chosen = [panel[name] for name in recipe._PANEL]
    assert all(toy.exact is not None and toy.coefficient is not None for toy in chosen)
    assert sum(toy.coefficient.llc < toy.task.dimension / 2 for toy in chosen) >= 4
    assert len(recipe._cases()) == len(chosen) + 3


def test_it_needs_no_report_library():
    code = (
        "import sys\n"
        "for name in ('altair', 'jinja2', 'vl_convert', 'transformers', 'tokenizers'): sys.modules[name] = None\n"
        "import bitsandnats.cli.app, bitsandnats.recipes.selftest as s\n"
        "s._cases()"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)


def test_reproduce_prints_its_plan_and_stops(cli, tmp_path):
    done = cli("reproduce", "dln-benchmark", "--small", "--plan", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert done.out.count("calibrated") == 1
    assert "predicted from one measured gradient" in done.out
    assert not (tmp_path / "run").exists()


def test_reproduce_refuses_in_one_sentence(cli, tmp_path):
    done = cli("reproduce", "dln-benchmark", "--classes", "2k", "--out", tmp_path / "run")
    assert "got '2k'" in done.sentence
    done = cli("reproduce", "dln-benchmark", "--samples", "20000.5")
    assert "expected whole numbers for --samples" in done.sentence
    assert cli("reproduce", "nothing").code == 2


def test_experiments_are_listed(cli):
    done = cli("ls", "experiments")
    assert "dln-benchmark" in done.out
    assert "2507.21449" in done.out
