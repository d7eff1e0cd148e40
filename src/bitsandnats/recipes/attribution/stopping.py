"""When there are draws enough for a matrix: as many as its reliability asks for."""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bitsandnats.errors import InputError, message
from bitsandnats.estimators.covariance import variance
from bitsandnats.estimators.reliability import Lines, of_covariance, reliability
from bitsandnats.settings import Settings

_MOST = 20_000  # draws of a chain
_WORTH_WHILE = 0.05  # of the draws there are


@dataclass(frozen=True)
class Reliable:
    """Draw until the matrix of a pair of subsets reproduces.

    Attributes:
        rows: subset.
        columns: subset.
        target: split-half reliability wanted.
        seconds: that sampling may take; None = no limit.
    """

    rows: str
    columns: str
    target: float
    seconds: float | None = None

    def more(self, tree: xr.DataTree) -> int:
        """Further draws of each chain; 0 = enough. Signal and noise add: r/(1 − r) grows as the draws."""
        draws, seconds = int(tree.attrs["draws"]), float(tree.attrs["seconds"])
        if "moments" not in tree.children or draws >= _MOST:
            return 0
        found = reliability(
            tree,
            of_covariance(tree, self.rows, self.columns),
            row_variance=variance(tree, self.rows),
            skip_diagonal=self.rows == self.columns,
        ).overall
        if not math.isfinite(found) or found >= self.target:
            return 0
        odds = found / (1 - found) if found > 0 else 0.0
        wanted = draws * (1.1 * self.target / (1 - self.target) / odds - 1) if odds > 0 else math.inf
        if self.seconds is not None:
            rate = (draws + int(tree.attrs["burn_in"])) / max(seconds, 1e-9)
            wanted = min(wanted, max(self.seconds - seconds, 0) * rate)
        more = math.floor(min(wanted, 2 * draws, _MOST - draws))  # the first reliability is itself uncertain
        return more if more >= draws * _WORTH_WHILE else 0


def target_or_default(target: float | None, draws: int | None, settings: Settings | None) -> float | None:
    """The reliability to draw for: the one asked for, else that of a plainly usable matrix, unless draws are given."""
    return target if target is not None or draws is not None or settings is not None else Lines().reliable


def check_target(target: float | None, draws: int | None, budget: float | None) -> None:
    """Refuses a target that cannot be met, a budget of nothing, and two rules for when to stop.

    Raises:
        InputError: as said.
    """
    if target is not None and not 0 < target < 1:
        raise InputError(
            message(expected="a target reliability between 0 and 1", got=f"{target:g}", do="give for instance 0.9")
        )
    if target is not None and draws is not None:
        raise InputError(
            message(
                expected="one rule for when to stop",
                got=f"draws = {draws} and a target reliability",
                do="leave out one of them",
            )
        )
    if budget is not None and not (budget > 0 and np.isfinite(budget)):
        raise InputError(message(expected="a budget above 0 seconds", got=f"{budget:g}", do="give e.g. 10m"))
