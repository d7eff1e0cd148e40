"""What influence costs beside an LLC run, and beside devinterp 2.0.1's `bif`, in one process, one thread, by turns.

    pip install devinterp==2.0.1                  in an environment of its own, with this package
    python benchmarks/attribution.py              writes docs/results/attribution_speed.md
    python benchmarks/attribution.py --print      prints only

Seconds are processor seconds of this process, so that other work on the machine counts for neither side; sides take turns,
and ratios are of one round. Without devinterp the second part is left out, and nothing is written.
"""

import argparse
import importlib.util
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TQDM_DISABLE", "1")  # a progress bar would be timed too

import numpy as np
import torch
from torch import Tensor, nn

import bitsandnats as bn
from bitsandnats._tree import tensors
from bitsandnats.data import as_data
from bitsandnats.estimators.bif import Influence
from bitsandnats.observables.cross_moments import BLOCKS, cross_moments, layout_of
from bitsandnats.observables.subset_losses import follow
from bitsandnats.observables.subsets import Subset
from bitsandnats.observables.watch import Watch
from bitsandnats.run import sample
from bitsandnats.settings import Settings

OUT = Path(__file__).parents[1] / "docs" / "results" / "attribution_speed.md"
AIM, DISK_AIM = 1.15, 10.0
ITEMS, TRAIN, QUERY = 1000, 128, 64  # of each side of the first part; of the second
CHAINS, DRAWS, BURN_IN, BATCH = 4, 200, 50, 32  # but for the burn-in devinterp's defaults
VOCABULARY, CONTEXT = 128, 24


class Transformer(nn.Module):
    """Two layers of causal attention, next-token logits."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(CONTEXT, width)
        self.layers = nn.ModuleList(
            nn.ModuleList([nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width), mlp(width)])
            for _ in range(2)
        )
        self.heads, self.unembed = heads, nn.Linear(width, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        for norm, mixed, out, after in self.layers:  # type: ignore[misc]
            parts = mixed(norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            x = x + out(nn.functional.scaled_dot_product_attention(*parts, is_causal=True).transpose(1, 2).flatten(2))
            x = x + after(x)
        return self.unembed(x)


def mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


def next_token(model: Any, ids: Tensor) -> Tensor:
    """Loss of each token but the first, in both tools' form."""
    logits = model(ids)[:, :-1]
    return nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")


class Case(NamedTuple):
    """A network on its data."""

    name: str
    model: nn.Module
    data: Any
    loss: Callable[[Any, Any], Tensor]

    @property
    def task(self) -> bn.Task:
        return bn.Task.from_module(self.model, self.loss, self.data)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def perceptron(items: int) -> Case:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(items, 784, generator=generator), torch.randint(10, (items,), generator=generator)
    model = seeded(
        lambda: nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    )
    return Case("MLP 784-256-256-10", model, (x, y), bn.losses.cross_entropy())


def transformer(items: int) -> Case:
    """On sequences that are learnt in part: each token is the last one plus 1, 2 or 3."""
    generator = torch.Generator().manual_seed(1)
    steps = torch.randint(1, 4, (items, CONTEXT), generator=generator)
    ids = (torch.randint(VOCABULARY, (items, 1), generator=generator) + steps.cumsum(1)) % VOCABULARY
    model = seeded(Transformer).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(150):
        batch = ids[(torch.arange(64) + 64 * step) % items]
        optimizer.zero_grad()
        next_token(model, batch).mean().backward()
        optimizer.step()
    size = sum(p.numel() for p in model.parameters())
    return Case(f"transformer 2 × 32, {size:,} weights, context {CONTEXT}", model.eval(), ids, next_token)


def seconds(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    found = call()
    return found, time.process_time() - began


class Added(NamedTuple):
    """What following 2 × 1,000 losses adds to a run, in forward passes of the module by itself."""

    ratios: list[float]
    share: list[float]
    passes: list[float]


def added(case: Case, draws: int, rounds: int) -> Added:
    task = case.task
    sides = {"train": range(ITEMS), "query": range(ITEMS, 2 * ITEMS)}
    batches = {name: task.batch(torch.tensor(list(rows))) for name, rows in sides.items()}
    losses = follow(task, {name: Subset(as_data(batch)) for name, batch in batches.items()})
    weights = {name: torch.as_tensor(one.columns.weight) for name, one in losses.followed.items()}
    layout = layout_of(losses.slices, weights, [("query", "train")], block=draws // BLOCKS)
    settings = Settings(nbeta=100.0, gamma=1000.0, step_size=1e-5, batch_size=64, chains=2, draws=draws, mode="loop")
    cut = [part for batch in batches.values() for part in zip(*(t.split(500) for t in tensors(batch)), strict=True)]

    @torch.no_grad()
    def bare() -> None:
        for part in cut * (2 * draws):
            case.loss(case.model, part if isinstance(case.data, tuple) else part[0])

    found = Added([], [], [])
    for _ in range(rounds):
        _, plain = seconds(lambda: sample(task, settings))
        watch = Watch(losses, cross_moments(layout))
        _, both = seconds(lambda watch=watch: sample(task, settings, observables={"losses": watch}))
        _, passes = seconds(bare)
        found.ratios.append((both - plain) / passes)
        found.share.append((both - plain) / plain)
        found.passes.append(passes)
    return found


class Beside(NamedTuple):
    """Both tools on one run: seconds and bytes a round, and how far their matrices agree."""

    ours: list[float]
    theirs: list[float]
    bytes: tuple[int, int]
    agreement: float
    reliability: float


def beside(case: Case, rounds: int) -> Beside:
    step, nbeta, gamma = 5e-4, 30.0, 200.0
    task = case.task
    settings = Settings(
        nbeta=nbeta, gamma=gamma, step_size=step, batch_size=BATCH, chains=CHAINS, draws=DRAWS, burn_in=BURN_IN, mode="loop",
        baseline="none", statistics="none",
    )  # fmt: skip

    def ours(folder: str, seed: int) -> Influence:
        own = settings.model_copy(update={"seed": seed})
        found = bn.influence(task, range(TRAIN), range(TRAIN, TRAIN + QUERY), settings=own, looks=DRAWS)
        bn.keep(found, task, folder)
        return found

    def theirs(folder: str, seed: int) -> Any:
        from datasets import Dataset
        from devinterp.slt.bif import bif

        def rows(first: int, last: int) -> Any:
            return Dataset.from_dict({"input_ids": case.data[first:last].tolist()}).with_format("torch")

        return bif(
            case.model, rows(0, len(case.data)),
            {"a": (rows(0, TRAIN), TRAIN // BATCH), "b": (rows(TRAIN, TRAIN + QUERY), QUERY // BATCH)},
            lr=step, n_beta=nbeta, localization=gamma, num_chains=CHAINS, num_draws=DRAWS, num_burnin_steps=BURN_IN, batch_size=BATCH,
            num_init_loss_batches=1, init_seed=seed, loss_fn=case.loss, output_path=folder, device="cpu",
            correlation_method="sequence", compute_covariance=True,
        )  # fmt: skip

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    sizes, matrices, known = (0, 0), [], 0.0
    for seed in range(rounds):
        with tempfile.TemporaryDirectory() as place:
            found, spent = seconds(lambda place=place, seed=seed: ours(f"{place}/ours", seed))
            times["ours"].append(spent)
            other, spent = seconds(lambda place=place, seed=seed: theirs(f"{place}/theirs", seed))
            times["theirs"].append(spent)
            sizes = (size_of(f"{place}/ours"), size_of(f"{place}/theirs"))
            matrices.append((-found.bif, in_order(case, other)))
            known = found.reliability.overall
    mean = [np.mean([pair[side] for pair in matrices], axis=0).ravel() for side in (0, 1)]
    return Beside(times["ours"], times["theirs"], sizes, float(np.corrcoef(*mean)[0, 1]), known)


def in_order(case: Case, other: Any) -> np.ndarray:
    """devinterp's covariances as [query, train]: it shuffles the items of an observable, and says which they were."""
    places = {tuple(row): i for i, row in enumerate(case.data.tolist())}
    order = np.array([places[tuple(row)] for row in other["input_ids"].values.astype(int).tolist()])
    matrix = np.empty((TRAIN + QUERY,) * 2)
    matrix[np.ix_(order, order)] = other["influences"].values
    return matrix[TRAIN:, :TRAIN]


def size_of(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def spread(values: list[float], form: str = ".2f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def page(found: dict[str, Added], peer: Beside | None, name: str, rounds: int) -> str:
    lines = [
        "# What influence costs",
        "",
        f"`python benchmarks/attribution.py --rounds {rounds}`; torch {torch.__version__}, {platform.machine()}, one thread. Seconds are "
        "processor seconds; sides took turns in one process; medians over rounds, least and largest.",
        "",
        "## Beside an LLC run",
        "",
        f"Two chains, 64 draws each by default, the losses of {ITEMS:,} training samples and {ITEMS:,} queries evaluated at each draw and their covariances kept. "
        "*In passes*: what that adds to the run, over bare forward passes of the module on the same samples, 500 at once, with their losses.",
        "",
        f"| network | in passes (aim ≤ {AIM:g}) | met | over the run without it | passes |",
        "|---|---|---|---|---|",
    ]
    for label, one in found.items():
        met = "yes" if statistics.median(one.ratios) <= AIM else "no"
        lines.append(
            f"| {label} | {spread(one.ratios)} | {met} | {spread(one.share, '.1f')} | {statistics.median(one.passes):.1f} s |"
        )
    lines += [
        "",
        f"Moments take {8 * ITEMS * ITEMS * BLOCKS / 2**20:.0f} to {16 * ITEMS * ITEMS * BLOCKS / 2**20:.0f} MiB a chain, whatever the number of draws.",
    ]
    if peer is not None:
        ratios = [a / b for a, b in zip(peer.theirs, peer.ours, strict=True)]
        disk = peer.bytes[1] / peer.bytes[0]
        lines += [
            "",
            "## Beside devinterp",
            "",
            f"`bn.influence` and `bn.keep` beside `bif` of devinterp {version('devinterp')} (`pip install devinterp=={version('devinterp')}`) on one {name}: SGLD "
            f"with the same ε, nβ, γ, {CHAINS} chains of {DRAWS} draws after {BURN_IN} steps, batch {BATCH}; {TRAIN} training sequences × {QUERY} queries "
            "at every draw, covariances of the sequences' mean losses. Ours keeps no statistics of steps here, as devinterp does by default.",
            "",
            "| | bitsandnats | devinterp | ratio |",
            "|---|---|---|---|",
            f"| seconds | {spread(peer.ours, '.1f')} | {spread(peer.theirs, '.1f')} | {spread(ratios)} |",
            f"| bytes stored | {peer.bytes[0]:,} | {peer.bytes[1]:,} | {disk:.1f} (aim ≥ {DISK_AIM:g}: {'met' if disk >= DISK_AIM else 'missed'}) |",
            "",
            f"Ours stores blocks of moments, whose size does not depend on the number of draws or tokens, and devinterp every token's loss at every "
            f"draw. Entries of the two matrices, mean over {rounds} rounds of other seeds, correlate by {peer.agreement:.3f}; the split-half reliability of ours "
            f"of one round is {peer.reliability:.2f}. devinterp centres chains together, so that differences of their means count as covariance, and ours each by itself.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--print", action="store_true", help="do not write docs/results/attribution_speed.md")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=64, help="of the first part's chains")
    parser.add_argument("--mlp", action="store_true", help="the first row alone, printed")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cases = [perceptron(2 * ITEMS)] + ([] if asked.mlp else [transformer(2 * ITEMS)])
    found = {case.name: added(case, asked.draws, asked.rounds) for case in cases}
    there = importlib.util.find_spec("devinterp") is not None and not asked.mlp
    text = page(found, beside(cases[1], asked.rounds) if there else None, cases[-1].name, asked.rounds)
    print(text)
    if there and not asked.print:
        OUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
