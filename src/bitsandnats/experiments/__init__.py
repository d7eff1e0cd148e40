"""The papers' studies: models, measurements and labelled tables, one package each; the report draws them by kind."""

from bitsandnats._registry import Entry, Registry

registry = Registry(
    family="experiments",
    # `bitsandnats reproduce` takes these as options
    bound=(
        *("classes", "nets", "samplers", "samples", "suites", "small", "seed"),
        *("operations", "networks", "regimes", "seeds", "epochs", "checkpoints", "grade", "device"),
    ),
    builtin={
        "dln-benchmark": Entry(
            "bitsandnats.experiments.dln_benchmark:benchmark_plan",
            "samplers on random deep linear networks whose λ is known: error, order and time by size (2507.21449)",
        ),
        "compressibility": Entry(
            "bitsandnats.experiments.compressibility:compressibility_plan",
            "the LLC against every compression, over the training of language models of three sizes (2510.12077)",
        ),
        "grokking": Entry(
            "bitsandnats.experiments.grokking:grokking_plan",
            "bytes and the LLC while networks memorise, then grok modular arithmetic (2412.09810)",
        ),
    },
)
