"""Processor time of everything in a search but losses: the search once more, with losses and gradients played back."""

import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import bitsandnats as bn
from bitsandnats.coarse_grain import tuned_search
from bitsandnats.coarse_grain.evaluator import Evaluator

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def overhead(task: bn.Task, tolerance: float) -> dict[str, float]:
    """Processor seconds of a search and of the same one without its losses; decompositions count with the rest.

    Args:
        task: the network.
        tolerance: ε, nats a unit.
    """
    tape: list[Any] = []

    def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            tape.append(function(*args, **options))
            return tape[-1]

        return call

    whole = _seconds(task, tolerance, recorded)
    played = iter(tape)
    rest = _seconds(task, tolerance, lambda function: lambda *args, **options: next(played))
    return {"tolerance": tolerance, "whole": whole, "rest": rest, "losses": len(tape)}


def _seconds(task: bn.Task, tolerance: float, wrap: Wrap) -> float:
    with (
        patch.object(Evaluator, "losses", wrap(Evaluator.losses)),
        patch.object(Evaluator, "gradient", wrap(Evaluator.gradient)),
        patch.object(tuned_search, "squared_gradients", wrap(tuned_search.squared_gradients)),
    ):
        began = time.process_time()
        bn.complexity(task, tolerance=tolerance, search="grid")
        return time.process_time() - began
