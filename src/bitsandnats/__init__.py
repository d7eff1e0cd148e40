"""bitsandnats: how complex is a trained network, in nats (local learning coefficient) and in bits (compression).

>>> import bitsandnats as bn
>>> task = bn.Task.from_module(model, bn.losses.cross_entropy(), dataset)   # doctest: +SKIP
>>> print(bn.estimate_llc(task))                                           # doctest: +SKIP
>>> print(bn.critical_point(bn.compressors.quantize(), task, tolerance=0.5))  # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING, Any

from bitsandnats._version import __version__ as __version__

if TYPE_CHECKING:
    from bitsandnats import compressors as compressors
    from bitsandnats import hf as hf
    from bitsandnats import losses as losses
    from bitsandnats import regularisers as regularisers
    from bitsandnats.calibration import calibrate as calibrate
    from bitsandnats.critical import CriticalPoint as CriticalPoint
    from bitsandnats.critical import critical_point as critical_point
    from bitsandnats.estimators.llc import LLC as LLC
    from bitsandnats.estimators.verdict import Verdict as Verdict
    from bitsandnats.recipes.attribution import influence as influence
    from bitsandnats.recipes.attribution import keep as keep
    from bitsandnats.recipes.attribution import loss_kernel as loss_kernel
    from bitsandnats.recipes.attribution import observe as observe
    from bitsandnats.recipes.attribution import refined_llc as refined_llc
    from bitsandnats.recipes.attribution import susceptibility as susceptibility
    from bitsandnats.recipes.complexity import Complexity as Complexity
    from bitsandnats.recipes.complexity import complexities as complexities
    from bitsandnats.recipes.complexity import complexity as complexity
    from bitsandnats.recipes.llc import estimate_llc as estimate_llc
    from bitsandnats.recipes.monitor import Monitor as Monitor
    from bitsandnats.recipes.study import study as study
    from bitsandnats.report import write_report as write_report
    from bitsandnats.settings import Settings as Settings
    from bitsandnats.store import open_run as open_run
    from bitsandnats.structure import fold_layer_norm as fold_layer_norm
    from bitsandnats.task import Task as Task

_HOMES = {
    "LLC": "bitsandnats.estimators.llc",
    "Complexity": "bitsandnats.recipes.complexity",
    "CriticalPoint": "bitsandnats.critical",
    "Monitor": "bitsandnats.recipes.monitor",
    "Settings": "bitsandnats.settings",
    "Task": "bitsandnats.task",
    "Verdict": "bitsandnats.estimators.verdict",
    "calibrate": "bitsandnats.calibration",
    "complexities": "bitsandnats.recipes.complexity",
    "complexity": "bitsandnats.recipes.complexity",
    "critical_point": "bitsandnats.critical",
    "estimate_llc": "bitsandnats.recipes.llc",
    "fold_layer_norm": "bitsandnats.structure",
    "influence": "bitsandnats.recipes.attribution",
    "keep": "bitsandnats.recipes.attribution",
    "loss_kernel": "bitsandnats.recipes.attribution",
    "observe": "bitsandnats.recipes.attribution",
    "open_run": "bitsandnats.store",
    "refined_llc": "bitsandnats.recipes.attribution",
    "study": "bitsandnats.recipes.study",
    "susceptibility": "bitsandnats.recipes.attribution",
    "write_report": "bitsandnats.report",
}
_ROOMS = ("compressors", "hf", "losses", "regularisers")

__all__ = [
    "LLC",
    "Complexity",
    "CriticalPoint",
    "Monitor",
    "Settings",
    "Task",
    "Verdict",
    "__version__",
    "calibrate",
    "complexities",
    "complexity",
    "compressors",
    "critical_point",
    "estimate_llc",
    "fold_layer_norm",
    "hf",
    "influence",
    "keep",
    "loss_kernel",
    "losses",
    "observe",
    "open_run",
    "refined_llc",
    "regularisers",
    "study",
    "susceptibility",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Imports on first use, so that `import bitsandnats` costs nothing."""
    if name in _HOMES:
        # a function may share its module's name: bind it here so that it wins over the submodule
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"bitsandnats.{name}")
    raise AttributeError(f"module 'bitsandnats' has no attribute {name!r}")
