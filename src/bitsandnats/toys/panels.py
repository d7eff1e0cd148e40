"""A panel of models whose λ and whose λ̂ at any nβ and γ are known: what a calibrated estimate is judged by."""

from functools import partial

import numpy as np

from bitsandnats.theory.finite_temperature import quadratic_llc
from bitsandnats.theory.learning_coefficient import regular
from bitsandnats.toys.monomials import monomial, sum_of_monomials
from bitsandnats.toys.neuron import neurons
from bitsandnats.toys.potentials import quadratic
from bitsandnats.toys.products import unit_products, zero_products
from bitsandnats.toys.regression import linear_regression
from bitsandnats.toys.types import SAMPLES, Exact, Toy


def panel() -> dict[str, Toy]:
    """Seventeen toys by name, six of them regular in the directions that count and eleven singular.

    Small singularities come in many independent copies, which add up in λ and λ̂: a single one has a standard error too
    large to say much.
    """
    return {
        "regular": _quadratic([1.0] * 20, "20 weights of curvature 1"),
        "anisotropic": _quadratic(np.geomspace(1e-2, 1e2, 20).tolist(), "20 curvatures over four decades"),
        "flat directions": _quadratic([1.0] * 20 + [0.0] * 20, "20 weights of curvature 1 and 20 flat ones"),
        "minimally singular": _quadratic([1.0] * 20 + [0.0], "21 weights, flat along one of them"),
        "regression": linear_regression(20),
        "noise-free regression": linear_regression(20, sigma=0.0, spread=3.0, seed=1),
        "quartic": sum_of_monomials(monomial([2]), count=40),
        "quadratic and quartic": sum_of_monomials(monomial([1]), monomial([2]), count=20),
        "crossing": sum_of_monomials(monomial([1, 1]), count=20),
        "uneven crossing": sum_of_monomials(monomial([1, 2]), count=40),
        "triple crossing": sum_of_monomials(monomial([1, 1, 1]), count=20),
        "vector crossing": sum_of_monomials(monomial([1, 1, 1], [3, 2, 3]), count=10),
        "linear pair at 1": unit_products(count=20),
        "one hidden unit at 0": zero_products(3, 1, 2, count=10),
        "two hidden units at 0": zero_products(3, 2, 3, count=5),
        "tanh neuron": neurons("tanh", count=20),
        "relu neuron": neurons("relu", count=20),
    }


def _quadratic(curvature: list[float], summary: str) -> Toy:
    return Toy(
        task=quadratic(curvature),
        coefficient=regular(sum(h > 0 for h in curvature)),
        exact=Exact(((1, partial(quadratic_llc, np.array(curvature))),)),
        samples=float(SAMPLES),
        summary=summary,
    )
