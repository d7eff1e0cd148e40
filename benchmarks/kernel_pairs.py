"""Energy between groups that share no weight, by halves of one chain's draws and by pairs of chains: which is zero?

    python benchmarks/kernel_pairs.py                                    modulus 7, disjoint halves and two copies
    python benchmarks/kernel_pairs.py --chains 128 --kinds disjoint --models 3 --full      the study's networks, modulus 11

On networks of `bitsandnats reproduce loss-kernel`, with its chains. Prints the ratio of energies with its bootstrap interval.
"""

import argparse

import numpy as np
import torch
import xarray as xr

import bitsandnats as bn
from bitsandnats.estimators.covariance import chain_sums
from bitsandnats.estimators.kernel_blocks import Energies, energy_ratio
from bitsandnats.experiments.chains import Chain, chain_settings
from bitsandnats.experiments.loss_kernel import loss_kernel_plan, networks
from bitsandnats.experiments.loss_kernel.plan import RATIO
from bitsandnats.recipes.attribution.comparisons import each_on_its_copy, side_by_side


def correlations(tree: xr.DataTree, blocks: list[int] | None = None) -> np.ndarray:
    sums, _ = chain_sums(tree, "inputs", "inputs", blocks=blocks)
    return sums / np.sqrt(np.einsum("cii,cjj->cij", sums, sums))


def ratios(tree: xr.DataTree, group: np.ndarray) -> dict[str, Energies]:
    cross = np.not_equal.outer(group, group)
    within = ~cross & ~np.eye(len(group), dtype=bool)
    blocks, whole = tree["moments"].sizes["block"], correlations(tree)
    first, last = list(range(blocks // 2)), list(range(blocks - blocks // 2, blocks))
    products = {
        "halves": correlations(tree, first) * correlations(tree, last),
        "pairs": whole[0:-1:2] * whole[1::2],
    }
    return {name: Energies(p[:, cross].mean(1), p[:, within].mean(1)) for name, p in products.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--chains", type=int, default=384)
    parser.add_argument("--kinds", nargs="+", choices=("disjoint", "copies"), default=["disjoint", "copies"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    tasks = loss_kernel_plan(small=not asked.full).tasks
    sampling, group = tasks.sampling._replace(chains=asked.chains), networks.arithmetic(tasks.modulus).group
    for model in range(asked.models):
        seed = networks.seed_of(0, model)
        for kind in asked.kinds:
            own = networks.shared_network(tasks, seed) if kind == "copies" else networks.disjoint_network(tasks, seed)
            settings = chain_settings(own, Chain(float(len(own.data)), RATIO), sampling, seed=model)
            moved = side_by_side(own, 2) if kind == "copies" else own
            each = each_on_its_copy(moved, own, own.data, group) if kind == "copies" else own
            pairs = [("inputs", "inputs")]
            tree = bn.observe(moved, {"inputs": each}, pairs=pairs, settings=settings, looks=sampling.draws)
            for name, energies in ratios(tree, group.numpy()).items():
                found = energy_ratio(energies)
                print(
                    f"{kind} {model}, {sampling.chains} chains of {sampling.draws}, {name}: {found.value:.4f} [{found.low:.4f}, {found.high:.4f}]",
                    flush=True,
                )


if __name__ == "__main__":
    main()
