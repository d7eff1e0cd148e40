"""How far a run is: each part by the time that it is predicted to take."""

from collections.abc import Callable, Sequence

from bitsandnats._types import Progress
from bitsandnats.experiments.compressibility.costs import PlanRow
from bitsandnats.experiments.compressibility.plan import Plan
from bitsandnats.experiments.compressibility.works import PruneWork, PublishedWork

_STUDY = ("calibration", "local", "schemes")


class Tracker:
    """Progress of all parts as one count, in thousandths of the predicted work; parts are told of by name."""

    def __init__(self, progress: Progress, plan: Plan, costs: Sequence[PlanRow]) -> None:
        self._progress = progress
        parts = {row.suite.name: row.parts() for row in costs}
        self._weights: dict[str, float] = {}
        for suite in plan.suites:
            own = parts.get(suite.name) or dict.fromkeys(("training", *_STUDY, "published", "pruning"), 1.0)
            self._weights[f"training {suite.name}"] = own["training"]
            self._weights[f"study of {suite.name}"] = sum(own[name] for name in _STUDY)
            self._weights[f"published settings, {suite.name}"] = own["published"]
            self._weights[f"pruning {suite.name}"] = own["pruning"]
        self._calibration = {
            name: own["calibration"] / (sum(own[part] for part in _STUDY) or 1.0) for name, own in parts.items()
        }
        self._done = dict.fromkeys(self._weights, 0.0)
        self._total = sum(self._weights.values()) or 1.0

    def training(self, names: Sequence[str]) -> Callable[[int, str, int, int], None]:
        """For the suites trained, in this order."""
        return lambda index, _, done, total: self._reach(f"training {names[index]}", done / max(total, 1))

    def study(self, name: str) -> Progress:
        """For the study of a suite."""
        share = self._calibration.get(name, 0.2)

        def told(stage: str, done: int, total: int) -> None:
            within = done / max(total, 1)
            reached = share + (1 - share) * within if stage == "checkpoints" else share * within
            self._reach(f"study of {name}", reached)

        return told

    def further(self, works: Sequence[PublishedWork | PruneWork]) -> Callable[[int, str, int, int], None]:
        """For the work beside the studies."""
        names = [_part(work) for work in works]
        reached = [0.0] * len(works)

        def told(index: int, stage: str, done: int, total: int) -> None:
            reached[index] = max(reached[index], done / max(total, 1))
            own = [r for r, name in zip(reached, names, strict=True) if name == names[index]]
            self._reach(names[index], sum(own) / len(own))

        return told

    def _reach(self, part: str, share: float) -> None:
        self._done[part] = max(self._done[part], share)
        reached = sum(self._weights[name] * done for name, done in self._done.items())
        self._progress(part, round(1000 * reached / self._total), 1000)


def _part(work: PublishedWork | PruneWork) -> str:
    return f"{'published settings,' if isinstance(work, PublishedWork) else 'pruning'} {work.suite}"
