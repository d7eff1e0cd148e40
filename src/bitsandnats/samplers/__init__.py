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
        "adam_sgld": Entry(
            "bitsandnats.samplers.adam_sgld:adam_sgld",
            "SGLD with Adam's first and second moments, freezable; its averaged drift lags behind the weights",
            tags=("mini", "momentum"),
        ),
        "sghmc": Entry(
            "bitsandnats.samplers.sghmc:sghmc",
            "SGLD with momentum and friction; right only if the gradient noise is known",
            tags=("mini", "momentum"),
        ),
        "sgnht": Entry(
            "bitsandnats.samplers.sgnht:sgnht",
            "momentum whose friction finds the gradient noise by itself, if that is alike in all weights",
            tags=("mini", "momentum"),
        ),
        "hmc": Entry(
            "bitsandnats.samplers.hmc:hmc",
            "Hamiltonian Monte Carlo on all data, exact in law: the reference for small models",
            tags=("full", "exact", "momentum"),
        ),
        "mala": Entry(
            "bitsandnats.samplers.mala:mala",
            "SGLD's step on all data with accept/reject, exact in law: tells what SGLD's step size costs",
            tags=("full", "exact"),
        ),
        "mclmc": Entry(
            "bitsandnats.samplers.mclmc:mclmc",
            "microcanonical Langevin on all data, no accept/reject: quick, with a bias set by its energy error",
            tags=("full", "momentum"),
        ),
    },
)
