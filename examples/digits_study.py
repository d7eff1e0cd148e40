"""LLC and critical quantization along the training of a digits classifier, and how the two relate.

Snapshots of any plain PyTorch module make a series: a mapping label -> Task, in training order. A label that ends in
a number gives the step. Needs scikit-learn for the data.

    python examples/digits_study.py [RUN_FOLDER]
"""

import copy
import sys

import torch
from sklearn.datasets import load_digits

import bitsandnats as bn


def main(out: str) -> None:
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, held_out = order[:1400], order[1400:]

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 24), torch.nn.Tanh(), torch.nn.Linear(24, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    series = {}
    for step in range(1, 513):
        batch = train[torch.randint(len(train), (128,))]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        if step in (48, 96, 192, 288, 400, 512):
            # A Task shares the module's storage: give it a copy of its own, or it moves as training goes on.
            snapshot = copy.deepcopy(model).eval()
            data = (x[train], y[train])
            series[f"step{step}"] = bn.Task.from_module(snapshot, bn.losses.cross_entropy(), data)

    run = bn.study(
        series,
        evaluation=(x[held_out], y[held_out]),
        tolerances=(0.01, 0.02, 0.05),
        settings={"sampler": "sgld", "gamma": 100.0, "chains": 2, "draws": 400, "burn_in": 100},
        out=out,
        title="A classifier of handwritten digits",
    )

    summary = run.summary()
    for row in summary["checkpoints"]:
        llc, points = row["llc"], row["critical"]["quantize"]
        levels = "  ".join(f"{p['level']} at {p['tolerance']:g}" for p in points)
        print(f"{row['label']:8} λ̂ {llc['llc']:7.1f} ± {llc['se']:.1f}   n_q* {levels:40} {llc['verdict']['status']}")
    print(summary["verdict"]["text"], *summary["findings"], sep="\n")
    print(f"report: {bn.write_report(run.path)}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs/digits")
