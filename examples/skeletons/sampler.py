"""Skeleton of a sampler: Leimkuhler & Matthews (2013), exact in variance on quadratics at any stable step."""

import torch

from bitsandnats._types import Batch, Params
from bitsandnats.samplers.types import Info, Rng, Sampler, State, fill_noise, scratch, statistics
from bitsandnats.target import LocalPosterior


def leimkuhler_matthews(target: LocalPosterior, *, step_size: float) -> Sampler:
    r"""Langevin steps with averaged noise: $w\leftarrow w-\tfrac\epsilon2G+\sqrt\epsilon\,(\eta_t+\eta_{t+1})/2$.

    Args:
        target: the local posterior; G = nβ g_B + γ(w − w*).
        step_size: ε.
    """

    def init(rng: Rng, position: Params) -> State:
        noise = {name: fill_noise(rng, torch.empty_like(w)) for name, w in position.items()}
        return State(position, noise, 0, scratch(position))

    @torch.no_grad()
    def step(rng: Rng, state: State, batch: Batch | None) -> tuple[State, Info]:
        evaluation = target.evaluate(state.position, batch)
        sums = statistics(target, state.position)  # Info is of the state before the step that consumes it
        for name, w in state.position.items():
            d, fresh = state.scratch.like(w)
            g, before = evaluation.gradient[name], state.memory[name]
            torch.sub(w, target.task.center[name], out=d)
            sums.add(name, d, g)
            w.add_(g, alpha=-step_size * target.nbeta / 2).add_(d, alpha=-step_size * target.gamma / 2)
            fill_noise(rng, fresh)  # each chain from its own generator
            w.add_(before + fresh, alpha=step_size**0.5 / 2)
            before.copy_(fresh)
        return State(state.position, state.memory, state.step + 1, state.scratch), sums.info(evaluation)

    return Sampler(init, step)


if __name__ == "__main__":  # its truth test: variance 1/κ at εκ = 1, where SGLD gives 4/3 of it
    from bitsandnats.toys import quadratic

    task, chains = quadratic([1.0] * 50), 8
    posterior = LocalPosterior(task, nbeta=90.0, gamma=10.0)
    sampler = leimkuhler_matthews(posterior, step_size=0.01)
    rng = [torch.Generator().manual_seed(c) for c in range(chains)]
    state = sampler.init(rng, {"w": task.center["w"].repeat(chains, 1)})
    squares = []
    for _ in range(1500):
        state, info = sampler.step(rng, state, None)
        squares.append(info.statistics["distance_squared"].mean() / task.dimension)
    ratio = float(torch.stack(squares[100:]).mean()) * 100
    print(f"variance times κ: {ratio:.3f}, exactly 1 expected")
    assert abs(ratio - 1) < 0.02
