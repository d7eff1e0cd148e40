"""EK-FAC (kronfluence) against a finished run of `bitsandnats reproduce influence-retraining`: same networks and subsets.

    pip install --no-deps kronfluence einconv einops opt-einsum
    python benchmarks/ekfac_retraining.py runs/influence-retraining

Prints the lines of a table: LDS of EK-FAC, its damping chosen on the subsets for choosing as for every method of the study,
beside BIF and the damped function with the Hessian as the run has them.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitsandnats.data import as_data
from bitsandnats.estimators.retraining import rank_agreement
from bitsandnats.experiments.chains import Sampling
from bitsandnats.experiments.influence_retraining.attributions import predicted, task_of
from bitsandnats.experiments.influence_retraining.plan import DAMPINGS, FORMS, Plan, Sizes
from bitsandnats.experiments.influence_retraining.works import base_network, images, subsets
from bitsandnats.experiments.small_networks import Net, Recipe
from bitsandnats.gradients.ekfac import ekfac_influence
from bitsandnats.store import Run

COLUMNS = (
    "data",
    "network",
    "subsets of",
    "form",
    "EK-FAC",
    "its damping",
    "damped influence, Hessian",
    "BIF",
    "seconds",
)


def plan_of(settings: dict[str, Any]) -> Plan:
    return Plan(
        tuple(settings["data"]), tuple(settings["fractions"]), settings["models"], Sizes(**settings["sizes"]),
        Recipe(**settings["recipe"]), Sampling(**settings["sampling"]), settings["device"], settings["seed"],
    )  # fmt: skip


def lines_of(run: Run, plan: Plan, data: str, model: int, dampings: list[float]) -> list[str]:
    """One network: every damping by the subsets for choosing, the best by those that are scored."""
    train, query = images(plan, data)
    task = task_of(Net(*(w[0] for w in base_network(plan, train, model).nets)), train)
    began = time.process_time()
    made = [ekfac_influence(task, task.data, as_data(tuple(query)), damping=d, seed=plan.seed) for d in dampings]
    spent = (time.process_time() - began) / len(dampings)
    rows = {(r["set"], r["model"], r["what"], r["form"]): r["methods"] for r in run.summary()["networks"]}
    cut, lines = plan.sizes.choosing, []
    for fraction in plan.fractions:
        truth = run.tree(data, f"retraining-{fraction:g}").dataset["losses"].values.mean(0)
        sums = [predicted(one, subsets(plan, data, fraction).double().numpy()) for one in made]
        for form in FORMS:
            best = int(np.argmax([rank_agreement(own[form][:cut], truth[:cut]).mean() for own in sums]))
            found = rank_agreement(sums[best][form][cut:], truth[cut:]).mean()
            other = rows[data, model, f"{fraction:g}", form]
            cells = (data, str(model), f"{fraction:g}", form, f"{found:.3f}", f"{dampings[best]:g}")
            beside = (f"{other['hessian']['value']:.3f}", f"{other['bif']['value']:.3f}", f"{spent:.0f}")
            lines.append("| " + " | ".join((*cells, *beside)) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--models", type=int, default=None)
    parser.add_argument("--dampings", type=float, nargs="+", default=list(DAMPINGS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    run = Run(asked.run)
    plan = plan_of(run.summary()["settings"])
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for data in plan.data:
        for model in range(asked.models or plan.models):
            print("\n".join(lines_of(run, plan, data, model, asked.dampings)), flush=True)


if __name__ == "__main__":
    main()
