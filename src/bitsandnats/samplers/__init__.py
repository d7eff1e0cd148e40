"""Samplers: how to move. Each is two functions, `init` and `step`, from a builder that binds every option."""

from bitsandnats._registry import Entry, Registry

registry = Registry(
    family="samplers",
    bound=("target", "step_size"),
    builtin={
        "sgld": Entry(
            "bitsandnats.samplers.sgld:sgld",
            "stochastic-gradient Langevin dynamics; the default, its finite-step law is known exactly",
            tags=("mini",),
        ),
        "rmsprop_sgld": Entry(
            "bitsandnats.samplers.rmsprop_sgld:rmsprop_sgld",
            "SGLD with RMSProp preconditioning, both published variants, freezable; the published recipe of 2510.12077",
            tags=("mini",),
        ),
    },
)
