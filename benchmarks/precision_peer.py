"""devinterp 2.0.1 on a case of `precision_cases.py`: its chains, its step from its grid, and what they cost."""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from precision_cases import BATCH, Case, item_losses

from bitsandnats.estimators.diagnostics import Convergence
from bitsandnats.estimators.llc import estimate
from bitsandnats.recipes.llc import measure_llc
from bitsandnats.settings import Settings

TARGET = 0.01
BIAS = 0.04  # of λ̂: 2 % for the finite step and 2 % for gradient noise, the rule of `calibrate`
GRID = tuple(10 ** (-6 + 4 * k / 7) for k in range(8))
CHAINS, DRAWS, INIT_BATCHES = 4, 200, 32  # devinterp's defaults
T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """Seconds of search, of reaching the stationary law, and of a 1 % standard error after that."""

    search: float
    relaxation: float
    precision: float
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def sampling(self) -> float:
        return self.relaxation + self.precision

    @property
    def whole(self) -> float:
        return self.search + self.sampling


def timed(function: Callable[[], T]) -> tuple[T, float]:
    began = time.process_time()
    found = function()
    return found, time.process_time() - began


@dataclass(frozen=True)
class Peer:
    """devinterp on one case at fixed nβ, γ."""

    case: Case
    nbeta: float
    gamma: float

    def sample(self, step_size: float, batch: int, draws: int, *, chains: int, seed: int, init: int) -> Any:
        from datasets import Dataset
        from devinterp.slt.sampling import sample

        data = Dataset.from_dict({"input_ids": self.case.input_ids.tolist()}).with_format("torch")
        with tempfile.TemporaryDirectory() as folder:
            tree, seconds = timed(
                lambda: sample(
                    self.case.model,
                    data,
                    {},
                    lr=step_size,
                    n_beta=self.nbeta,
                    localization=self.gamma,
                    loss_fn=self.case.loss,
                    num_chains=chains,
                    num_draws=draws,
                    batch_size=batch,
                    num_init_loss_batches=init,
                    init_seed=seed,
                    output_path=Path(folder) / "tree",
                )
            )
            return tree.load(), seconds

    def chain(self, step_size: float, batch: int, draws: int, seed: int) -> tuple[np.ndarray, float]:
        """Excess loss of each step over the same batch at w*, and the chain's seconds.

        L(w*) is asked for from as many batches as the chain has, at most an epoch. Those are the chain's own batches,
        since devinterp repeats the order of its first epoch: subtracting batch by batch gives the mean it gives.
        """
        init = min(draws, len(self.case.input_ids) // batch)
        tree, seconds = self.sample(step_size, batch, draws, chains=1, seed=seed, init=init)
        loss = tree.sampling_loss_micro.mean(dim=["batch_sampling", "token_pos"]).values[0]
        return loss - self._baseline(batch, draws, seed), seconds

    def _baseline(self, batch: int, draws: int, seed: int) -> np.ndarray:
        places = torch.utils.data.DataLoader(
            torch.arange(len(self.case.input_ids)),  # type: ignore[arg-type]
            batch_size=batch,
            shuffle=True,
            generator=torch.Generator().manual_seed(seed),
            drop_last=True,
        )
        losses = item_losses(self.case)
        return np.array(list(islice(cycle([float(losses[at].mean()) for at in places]), draws)))

    def by_default(self, step_size: float, seed: int) -> tuple[float, float]:
        """λ̂ as `llc()` returns it with its defaults, and the seconds: one point of a search."""
        from devinterp.slt.llc import compute_llc

        batch = min(BATCH, len(self.case.input_ids))
        tree, seconds = self.sample(step_size, batch, DRAWS, chains=CHAINS, seed=seed, init=INIT_BATCHES)
        return float(compute_llc(tree).llc_mean), seconds


def predicted_bias(case: Case, settings: Settings, step_size: float, batch: int) -> float:
    """Bound on the share of λ̂ that finite steps and gradient noise add, from our SGLD, which is theirs in law."""
    chosen = Settings(
        step_size=step_size, gamma=settings.gamma, nbeta=settings.nbeta, batch_size=batch, burn_in=100, draws=100
    )
    share = estimate(measure_llc(case.task, chosen)).figures.get("step_share", math.inf)
    return share if math.isfinite(share) else math.inf


def choose(peer: Peer, settings: Settings) -> tuple[float, int, float, str]:
    """Step, batch, predicted bias and a note: the point of the grid that gets farthest in a second."""
    found = []
    for batch in peer.case.batches:
        shares: dict[float, float] = {}
        for step in GRID:
            shares[step] = predicted_bias(peer.case, settings, step, batch)
            if shares[step] > BIAS:
                break
        _, seconds = peer.chain(GRID[0], batch, 100, 0)
        passing = [step for step, share in shares.items() if share <= BIAS]
        if passing:
            found.append((passing[-1] / seconds, passing[-1], batch, shares[passing[-1]], "on the grid"))
        elif math.isfinite(shares[GRID[0]]):
            step = GRID[0] * BIAS / shares[GRID[0]]
            note = f"below the grid, whose smallest step would add {shares[GRID[0]]:.0%}"
            found.append((step / seconds, step, batch, BIAS, note))
    _, step, batch, share, note = max(found)
    return step, batch, share, note


def relaxed(excess: np.ndarray, reference: float) -> int | None:
    """Steps until λ̂, averaged over chains and over bins that grow by 30 %, stays near the reference.

    Near: within `BIAS` and two standard errors of the bin. None where that takes more than 80 % of the steps.
    """
    chains, steps = excess.shape
    edges = [0, 20]
    while edges[-1] < steps:
        edges.append(min(steps, math.ceil(edges[-1] * 1.3)))
    burn = 0
    for low, high in pairwise(edges):
        means = excess[:, low:high].mean(1) / reference
        error = float(means.std(ddof=1)) / math.sqrt(chains) if chains > 1 else 0.0
        if abs(float(means.mean()) - 1) > BIAS + 2 * error:
            burn = high
    return burn if burn <= 0.8 * steps else None


def price(case: Case, known: Convergence, steps: int, *, relaxation: float, seconds: float, batch: int) -> Cost:
    """Seconds to 1 % with L(w*) from all batches; in `extra`, with the default of 32.

    The default leaves an error that no length removes, so runs have to be repeated: with variance F a run and S a step,
    of prices a and c, the least price of R runs and N steps with F/R + S/N = τ² is (√(aF) + √(cS))²/τ², if R ≥ 1.

    Args:
        case: for its losses at w*.
        known: of the excess loss after relaxation.
        steps: of all chains, that `known` is from.
        relaxation: price of a run's relaxation, seconds.
        seconds: price of a step.
        batch: items of a batch.
    """
    variance = steps * (known.se / known.mean) ** 2
    losses, init = item_losses(case), min(INIT_BATCHES * batch, len(case.input_ids))
    floor = float(losses.std()) / known.mean * math.sqrt(1 / init - 1 / len(losses))
    root = math.sqrt(relaxation) * floor + math.sqrt(seconds * variance)
    if relaxation > 0 and floor * root / math.sqrt(relaxation) > TARGET**2:
        default = root**2 / TARGET**2
    else:
        default = relaxation + seconds * variance / max(TARGET**2 - floor**2, 1e-12)
    return Cost(0.0, relaxation, seconds * variance / TARGET**2, {"floor": floor, "default": default})
