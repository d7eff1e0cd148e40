"""Linear regression: a regular model whose tempered posterior is exactly Gaussian."""

from functools import partial

import numpy as np
import torch
from torch import nn

from bitsandnats import losses
from bitsandnats.task import Task
from bitsandnats.theory.finite_temperature import quadratic_llc
from bitsandnats.theory.learning_coefficient import regular
from bitsandnats.toys.types import Exact, Toy


def linear_regression(
    dimension: int, *, samples: int = 2000, spread: float = 1.0, sigma: float = 0.5, seed: int = 0
) -> Toy:
    r"""Linear regression on normal inputs, at the least-squares solution: λ = d/2, λ̂ from the Hessian.

    The Hessian is $H=\frac1{n\sigma^2}\sum xx^\top$, L(w) − L(w*) = ½(w−w*)ᵀH(w−w*) exactly, and λ̂(nβ, γ) is that of a
    quadratic with H's eigenvalues.

    Args:
        dimension: d.
        samples: n, all of them items of the task.
        spread: ratio of the largest to the smallest standard deviation of an input, evenly spaced in logarithm.
        sigma: s.d. of the noise on y and in the loss; with 0, y has no noise and the loss takes 1.
        seed: any non-negative integer.
    """
    random = np.random.default_rng([seed, dimension])
    x = random.standard_normal((samples, dimension)) * np.geomspace(spread**-0.5, spread**0.5, dimension)
    truth = random.uniform(-1, 1, dimension)
    y = x @ truth + sigma * random.standard_normal(samples)
    scale = sigma if sigma > 0 else 1.0
    module = nn.Linear(dimension, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.as_tensor(np.linalg.lstsq(x, y, rcond=None)[0]))
    task = Task.from_module(module, losses.gaussian(scale), (torch.as_tensor(x), torch.as_tensor(y)[:, None]))
    curvature = np.linalg.eigvalsh(x.T @ x / samples / scale**2)
    return Toy(
        task=task,
        coefficient=regular(dimension),
        exact=Exact(((1, partial(quadratic_llc, curvature)),)),
        samples=float(samples),
        summary=f"linear regression in {dimension} dimensions on {samples} samples with noise of s.d. {sigma:g}",
    )
