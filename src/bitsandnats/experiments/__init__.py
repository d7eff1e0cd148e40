"""The papers' studies: models, measurements and labelled tables, one package each; the report draws them by kind."""

from bitsandnats._registry import Entry, Registry

registry = Registry(
    family="experiments",
    bound=("classes", "nets", "samplers", "samples", "small", "seed"),  # `bitsandnats reproduce` takes them as options
    builtin={
        "dln-benchmark": Entry(
            "bitsandnats.experiments.dln_benchmark:benchmark_plan",
            "samplers on random deep linear networks whose λ is known: error, order and time by size (2507.21449)",
        ),
    },
)
