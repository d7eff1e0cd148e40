"""The papers' studies: models, measurements and labelled tables, one package each; the report draws them by kind."""

from bitsandnats._registry import Entry, Registry

registry = Registry(
    family="experiments",
    # `bitsandnats reproduce` takes these as options
    bound=(
        *("classes", "nets", "samplers", "samples", "suites", "small", "seed"),
        *("operations", "networks", "regimes", "seeds", "epochs", "checkpoints", "grade", "device"),
        *("data", "models", "draws"),
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
        "influence-retraining": Entry(
            "bitsandnats.experiments.influence_retraining:influence_plan",
            "attributions of every method against retraining on subsets and without single images (2509.26544)",
        ),
        "loss-kernel": Entry(
            "bitsandnats.experiments.loss_kernel:loss_kernel_plan",
            "loss kernels of two tasks against controls, and of images against WordNet's tree (2509.26537)",
        ),
        "susceptibility": Entry(
            "bitsandnats.experiments.susceptibility:susceptibility_plan",
            "attention heads told apart by how they respond to shifts of the data, against ablation (2504.18274)",
        ),
        "refined-llc": Entry(
            "bitsandnats.experiments.refined_llc:refined_llc_plan",
            "refined LLCs of attention heads over training, their curves grouped, against ablation (2410.02984)",
        ),
    },
)
