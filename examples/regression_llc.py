"""The local learning coefficient of a linear regression, beside the answer that is known exactly.

A regular model with d weights has λ = d/2. At finite nβ, γ and step size ε, full-batch SGLD converges to a slightly
different number, which is known in closed form from the Hessian's eigenvalues. The last estimate shows what
minibatches add: the scatter of their gradients heats the chain, and no error bar contains that.

    python examples/regression_llc.py
"""

import torch

import bitsandnats as bn
from bitsandnats.theory.finite_step import finite_step_llc

# Data: 2000 points, 10 inputs, noise of standard deviation 0.5.
random = torch.Generator().manual_seed(0)
x = torch.randn(2000, 10, generator=random, dtype=torch.float64)
y = x @ torch.linspace(-1, 1, 10, dtype=torch.float64) + 0.5 * torch.randn(2000, generator=random, dtype=torch.float64)
targets = y[:, None]

# w* is the minimum of the loss on these data. Elsewhere the gradient at w* would be part of λ̂.
model = torch.nn.Linear(10, 1, bias=False, dtype=torch.float64)
model.weight.data = torch.linalg.lstsq(x, targets).solution.T

task = bn.Task.from_module(model, bn.losses.gaussian(sigma=0.5), (x, targets))
settings = bn.calibrate(task, given={"sampler": "sgld", "batch_size": len(x), "gamma": 1.0})
for name in ("nbeta", "gamma", "step_size", "draws"):
    print(f"{name:10} {getattr(settings, name):10.4g}   {settings.reasons[name]}")

curvature = torch.linalg.eigvalsh(x.T @ x / len(x)).numpy() / 0.5**2
exact = finite_step_llc(curvature, nbeta=settings.nbeta, gamma=settings.gamma, step_size=settings.step_size)
limit = finite_step_llc(curvature, nbeta=settings.nbeta, gamma=settings.gamma, step_size=1e-12)

estimate = bn.estimate_llc(task, settings=settings)
print()
print(f"λ = d/2                  {x.shape[1] / 2:.3f}")
print(f"exact at this nβ, γ      {limit:.3f}")
print(f"exact at this step too   {exact:.3f}")
print(f"sampled, exact gradients {estimate}")

heated = bn.estimate_llc(task, settings=settings, batch_size=64)
print(f"sampled, batches of 64   {heated}")

assert abs(estimate.llc - exact) < 4 * estimate.se
