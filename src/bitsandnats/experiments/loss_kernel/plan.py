"""What the study trains and samples, and the rules stated beforehand."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from bitsandnats.errors import InputError, message
from bitsandnats.experiments.chains import Sampling
from bitsandnats.experiments.images import available
from bitsandnats.experiments.small_networks import Recipe

KINDS = ("shared", "noise", "disjoint", "copies")
WORDS = {
    "shared": "one network for both tasks",
    "noise": "the same network at nβ = 0",
    "disjoint": "half of the hidden units for each task, and no weight in common",
    "copies": "the same network twice, each input under its task's copy",
}
TASKS = ("addition", "multiplication")
P_AIM, RELIABLE = 0.01, 0.9
RATIO = 0.1
"""γ/nβ of all chains, with nβ = n."""

RULE = (
    "Stated beforehand. Block energy: over pairs of inputs, the product of their losses' correlations in one chain "
    "and in another, whose expectation is 0 where they share nothing, from pairs of chains of which none is in two;"
    " ratio: its mean across tasks over that within, the square of a ratio of root mean square correlations. "
    "Intervals draw the pairs again; p deals them anew to network and control. Aims, for each network: its ratio "
    f"differs from that at nβ = 0 with p < {P_AIM:g}; the interval of the disjoint network's ratio has 0 in it; "
    f"split-half reliability of the kernels of networks at least {RELIABLE:g}. Hierarchy: Spearman's correlation "
    "between the mean correlation of the losses of images of each two classes and minus their distance in WordNet, "
    "with Mantel's permutation p, beside the same at nβ = 0, of the images' pixels, and given the pixels. Since "
    "losses of classes that are mistaken for each other may fall and rise in opposition, the same with squares of "
    "correlations in place of correlations."
)


class TwoTasks(NamedTuple):
    """Two tables of arithmetic that one network learns.

    Attributes:
        modulus: p, so that there are 2p² items.
        recipe: of training.
        sampling: chains of each kernel: more than of the images', since correlations are smaller.
    """

    modulus: int
    recipe: Recipe
    sampling: Sampling


class Classes(NamedTuple):
    """A classifier of Fashion-MNIST.

    Attributes:
        train: images to train on.
        inputs: of the test set, whose kernel is taken.
        recipe: of training.
        sampling: chains of each kernel.
    """

    train: int
    inputs: int
    recipe: Recipe
    sampling: Sampling


@dataclass(frozen=True)
class Plan:
    """What a run trains and samples.

    Attributes:
        tasks: the arithmetic.
        classes: the images; None = left out.
        models: networks of each, of different first weights.
        device: where chains are run; networks are trained on the processor.
        seed: of all.
    """

    tasks: TwoTasks
    classes: Classes | None
    models: int
    device: str
    seed: int

    def run_settings(self) -> dict[str, Any]:
        """Plain values that define the results, for the run folder."""
        return {
            "experiment": "loss-kernel",
            "tasks": str(tuple(self.tasks)),
            "classes": None if self.classes is None else str(tuple(self.classes)),
            "models": self.models,
            "device": self.device,
            "seed": self.seed,
        }


def loss_kernel_plan(
    *, models: int | None = None, draws: int | None = None, small: bool = False, device: str = "cpu", seed: int = 0
) -> Plan:
    """The plan of a run; without Fashion-MNIST installed, of the arithmetic alone.

    Args:
        models: networks of each; None = 3, of a small run 2.
        draws: of each chain, of which there are 256 for the arithmetic and 16 for images, of a small run 64 and 16;
            None = 300, of a small run 100.
        small: a smaller modulus, fewer images, networks and chains.
        device: where chains are run.
        seed: of all.

    Raises:
        InputError: numbers out of range.
    """
    for what, value, least in (("models", models, 1), ("draws", draws, 10)):
        if value is not None and value < least:
            do = f"give {least} or more"
            raise InputError(message(expected=f"at least {least} of {what}", got=str(value), do=do))
    modulus, width = (7, 32) if small else (11, 48)
    recipe = Recipe(width=width, steps=1000 if small else 2000, rate=0.01, decay=3e-4)
    arithmetic = TwoTasks(modulus, recipe, Sampling(64 if small else 256, 20, draws or (100 if small else 300)))
    train, inputs = (500, 100) if small else (2000, 500)
    short = Sampling(16, 20, draws or (100 if small else 300))
    images = Classes(train, inputs, Recipe(width=32, steps=200, rate=0.03, decay=3e-3), short)
    classes = images if "fashion" in available() else None
    return Plan(arithmetic, classes, models or (2 if small else 3), device, seed)
