"""Observables: what to measure on a draw, and reducers: what to keep of it."""

from bitsandnats._registry import Entry, Registry

registry = Registry(
    family="observables",
    bound=("center", "position"),
    builtin={
        "distance": Entry(
            "bitsandnats.observables.distance:distance", "‖w − w*‖ of each chain, units of weight", tags=("trace",)
        ),
        "weights": Entry(
            "bitsandnats.observables.weights:weights", "w − w* itself, every coordinate", tags=("moments",)
        ),
    },
)
