"""`bitsandnats reproduce`: the papers' studies, each a command."""

from collections.abc import Callable, Sequence
from typing import Any

import typer

from bitsandnats.cli import (
    reproduce_attribution,
    reproduce_compressibility,
    reproduce_dln,
    reproduce_grokking,
    reproduce_heads,
)

_STUDIES: dict[str, tuple[Callable[..., Any], Sequence[str]]] = {
    "dln-benchmark": (reproduce_dln.dln_benchmark, reproduce_dln.EXAMPLES),
    "compressibility": (reproduce_compressibility.compressibility, reproduce_compressibility.EXAMPLES),
    "grokking": (reproduce_grokking.grokking, reproduce_grokking.EXAMPLES),
    "influence-retraining": (reproduce_attribution.influence_retraining, reproduce_attribution.RETRAINING_EXAMPLES),
    "loss-kernel": (reproduce_attribution.loss_kernel, reproduce_attribution.KERNEL_EXAMPLES),
    "susceptibility": (reproduce_heads.susceptibility, reproduce_heads.SUSCEPTIBILITY_EXAMPLES),
    "refined-llc": (reproduce_heads.refined_llc, reproduce_heads.REFINED_EXAMPLES),
}

app = typer.Typer(
    help="Runs a published study again: see 'bitsandnats ls experiments'.",
    epilog="\n".join(("Examples:", *(examples[0] for _, examples in list(_STUDIES.values())[:3]))),
    no_args_is_help=True,
)
for _name, (_verb, _examples) in _STUDIES.items():
    app.command(_name, epilog="\n".join(("Examples:", *_examples)))(_verb)
