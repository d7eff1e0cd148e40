"""Published settings, by the name of the paper."""

from bitsandnats.errors import InputError, message
from bitsandnats.settings import Settings

RECIPES = ("local", "2510.12077")


def published_settings(recipe: str, seed: int) -> Settings | None:
    """The settings that a paper states, or None for `local` (measured ones).

    2510.12077, appendix D: RMSProp-SGLD without bias correction, γ = 300, nβ = 30, four chains of 200 steps from w*,
    batch 32, L(w*) from 8 batches, nothing discarded; ε = 1e-3 is that of the smallest model (14M parameters).

    Raises:
        InputError: no such recipe.
    """
    if recipe == "local":
        return None
    if recipe == "2510.12077":
        return Settings(
            sampler="rmsprop_sgld",
            step_size=1e-3,
            gamma=300.0,
            nbeta=30.0,
            batch_size=32,
            chains=4,
            burn_in=0,
            draws=200,
            start="center",
            seed=seed,
            baseline="none",
            reasons={"recipe": "as published in 2510.12077, appendix D, for its smallest model"},
        )
    raise InputError(message(expected=f"recipe {' or '.join(RECIPES)}", got=repr(recipe), do="choose one"))
