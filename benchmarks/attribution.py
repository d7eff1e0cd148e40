"""What following losses costs: a run with influence of 1,000 × 1,000 samples, against the same run without it.

    python benchmarks/attribution.py [--quick]

The forward passes that the losses need are timed by themselves in the same process; the ratio is of what following them
adds to the run to those passes alone, in alternation, the median of rounds.
"""

import argparse
import statistics
import time

import torch
from torch import nn

import bitsandnats as bn
from bitsandnats.data import as_data
from bitsandnats.observables.cross_moments import cross_moments, layout_of
from bitsandnats.observables.subset_losses import follow
from bitsandnats.observables.subsets import Subset
from bitsandnats.observables.watch import Watch
from bitsandnats.run import sample
from bitsandnats.settings import Settings


def network(width: int, samples: int) -> bn.Task:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, 784, generator=generator)
    y = torch.randint(10, (samples,), generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        )
    return bn.Task.from_module(model.eval(), bn.losses.cross_entropy(), (x, y))


def seconds(call) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    count, width, draws, rounds = (200, 64, 30, 2) if quick else (1000, 256, 128, 3)
    task = network(width, 2 * count)
    subsets = {
        "train": Subset(as_data(task.data.batch(torch.arange(count)))),
        "query": Subset(as_data(task.data.batch(torch.arange(count, 2 * count)))),
    }
    losses = follow(task, subsets)
    weights = {name: torch.ones(count) for name in subsets}
    layout = layout_of(losses.slices, weights, [("query", "train")], block=draws // 4)
    settings = Settings(
        nbeta=100.0, gamma=1000.0, step_size=1e-5, batch_size=64, chains=2, draws=draws, mode="loop", baseline="none"
    )
    position = {name: w[None].clone() for name, w in task.center.items()}
    ratios, shares = [], []
    for _ in range(rounds):
        plain = seconds(lambda: sample(task, settings))
        watch = Watch(losses, cross_moments(layout))
        both = seconds(lambda watch=watch: sample(task, settings, observables={"losses": watch}))
        passes = seconds(lambda: [losses(task.center, position) for _ in range(2 * draws)])
        ratios.append((both - plain) / passes)
        shares.append((both - plain) / plain)
    numbers = 2 * draws * 2 * count
    print(
        f"{count} x {count} samples, network of {task.dimension} weights, 2 chains of {draws} draws, {rounds} rounds, CPU time"
    )
    print(
        f"added time over that of the forward passes: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )
    print(f"added time over that of the run without it: {statistics.median(shares):.2f}")
    print(
        f"memory of the moments {8 * 2 * 4 * count * count / 2**20:.0f} MiB whatever the draws; traces would be {4 * numbers / 2**20:.1f} MiB and grow"
    )


if __name__ == "__main__":
    main()
