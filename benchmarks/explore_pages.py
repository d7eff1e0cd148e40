"""The pages to explore that the documentation shows, and their sizes: influence and kernel of handwritten digits.

python benchmarks/explore_pages.py OUT              400 images, 60 queries, chains long enough for reliability 0.9
python benchmarks/explore_pages.py OUT --many       a map of 10,000 images (shifted copies of 1,797), short chains
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import bitsandnats as bn
from bitsandnats.recipes.attribution.keep import readings

SHIFTS = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (-1, -1))


def digits(many: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images of 8 × 8 from 0 to 1, and their labels, in an order of their own."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = (images[order] / 16).reshape(-1, 8, 8), labels[order]
    if not many:
        return images, labels
    return np.concatenate([np.roll(images, shift, (1, 2)) for shift in SHIFTS]), np.tile(labels, len(SHIFTS))


def trained(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """A tanh network of 24 hidden units after 300 steps on all of the images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--many", action="store_true")
    asked = parser.parse_args()
    images, labels = digits(asked.many)
    x, y = torch.tensor(images, dtype=torch.float32)[:, None], torch.tensor(labels)
    n, queries = (10_000, 0) if asked.many else (400, 60)
    task = bn.Task.from_module(trained(x[:n], y[:n]), bn.losses.cross_entropy(), (x[:n], y[:n]))
    subsets = (
        {"train": range(n)} if asked.many else {"train": range(n), "query": (x[n : n + queries], y[n : n + queries])}
    )
    parts = {"train": slice(n), "query": slice(n, n + queries)}
    sgld = {"chains": 4, "draws": 1000, "gamma": 10.0, "nbeta": 1000.0, "step_size": 2e-4, "batch_size": 256}
    hmc = {"sampler": "hmc(leapfrogs=12)", "chains": 4, "draws": 1500, "burn_in": 60, "gamma": 10.0, "nbeta": 66.8}
    began = time.perf_counter()
    run = bn.observe(
        task,
        subsets,
        pairs=() if asked.many else (("query", "train"), ("train", "train")),
        traces=asked.many,
        options=sgld if asked.many else {**hmc, "step_size": 0.055, "batch_size": n},
        looks=256 if asked.many else 1500,
        labels={name: labels[parts[name]].tolist() for name in subsets},
        previews={name: list(images[parts[name]]) for name in subsets},
    )
    print(f"sampled in {time.perf_counter() - began:.0f} s")
    for name, known in readings(run).items():
        print(f"{name}: {known}")
    page = bn.write_report(bn.keep(run, task, asked.out, label=f"digits, {n:,} images").path)
    print(f"{page}: {page.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
