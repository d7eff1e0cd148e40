import subprocess
import sys

import pytest

import bitsandnats as bn
from bitsandnats import compressors, observables, samplers
from bitsandnats._registry import Entry, Registry
from bitsandnats.errors import InputError


def test_build_binds_options(wave_task):
    from bitsandnats.target import LocalPosterior

    target = LocalPosterior(wave_task, 1.0, 1.0)
    build = samplers.registry.build("rmsprop_sgld(delta=0.01, initial='one', adapt_steps=5)")
    assert build.keywords == {"delta": 0.01, "initial": "one", "adapt_steps": 5}
    build(target, step_size=1e-3)
    samplers.registry.build("sgld()")(target, step_size=1e-3)
    samplers.registry.build(" sgld ")(target, step_size=1e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sgdl", "did you mean 'sgld'"),
        ("rmsprop-sgld", "did you mean 'rmsprop_sgld'"),
        ("zzz", "see 'bitsandnats ls samplers'"),
        ("sgld(rate=1)", r"options of sgld among \(none\), got rate"),
        ("rmsprop_sgld(dleta=1)", "options of rmsprop_sgld among decay, delta, initial, adapt_steps, got dleta"),
        ("rmsprop_sgld(step_size=1)", "got step_size"),
        ("rmsprop_sgld(0.1)", r"expected name or name\(option=value"),
        ("rmsprop_sgld(delta=__import__('os'))", "write options by name"),
        ("rmsprop_sgld(delta=", "write options by name"),
        ("rmsprop_sgld(delta=1)(2)", "write options by name"),
        ("rmsprop_sgld(**{'delta': 1})", "write options by name"),
        ("", "expected one of the samplers"),
    ],
)
def test_bad_text(text, said):
    with pytest.raises(InputError, match=said):
        samplers.registry.build(text)


def test_options_are_documented():
    assert samplers.registry.options("sgld") == ""
    assert samplers.registry.options("rmsprop_sgld") == "decay=0.99, delta=0.1, initial='zero', adapt_steps=None"
    assert compressors.registry.options("quantize") == "max_abs='optimal', granularity='model'"
    assert observables.registry.options("distance") == ""


@pytest.mark.parametrize("registry", [samplers.registry, compressors.registry, observables.registry])
def test_every_entry_loads(registry):
    for name, entry in registry.entries().items():
        assert callable(entry.load()), name
        assert entry.summary


class Point:
    def __init__(self, name, value):
        self.name, self.value = name, value


def test_third_parties(monkeypatch):
    registry = Registry("things", (), {"own": Entry("math:sqrt", "root")})
    monkeypatch.setattr("bitsandnats._registry.entry_points", lambda group: [Point("other", "math:floor")])
    assert list(registry.entries()) == ["own", "other"]
    assert registry.build("other")(2.5) == 2
    monkeypatch.setattr("bitsandnats._registry.entry_points", lambda group: [Point("own", "math:floor")])
    with pytest.raises(InputError, match="expected distinct names among things"):
        registry.entries()


def test_every_public_name_is_there():
    for name in bn.__all__:
        assert getattr(bn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bn.nothing  # noqa: B018


@pytest.mark.parametrize("first", ["bn.study", "import bitsandnats.calibration"])
def test_public_functions_win_over_modules_of_the_same_name(first):
    """Whatever was imported before."""
    code = f"import bitsandnats as bn\n{first}\nassert callable(bn.calibrate), bn.calibrate"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-300:]
