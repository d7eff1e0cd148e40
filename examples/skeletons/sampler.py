"""Skeleton of a sampler: Leimkuhler & Matthews (2013), exact in variance on quadratics at any stable step."""

import torch

from bitsandnats._types import Batch, Params
from bitsandnats.samplers.types import Info, Rng, Sampler, State, Walk, fill_noise, start
from bitsandnats.target import LocalPosterior


def leimkuhler_matthews(target: LocalPosterior, *, step_size: float) -> Sampler:
    r"""Langevin steps with averaged noise: $w\leftarrow w-\tfrac\epsilon2G+\sqrt\epsilon\,(\eta_t+\eta_{t+1})/2$.

    Args:
        target: the local posterior; G = nβ g_B + γ(w − w*).
        step_size: ε.
    """

    def init(rng: Rng, position: Params) -> State:
        return start(target, position, {k: fill_noise(rng, torch.empty_like(w)) for k, w in position.items()})

    @torch.no_grad()
    def step(rng: Rng, state: State, batch: Batch | None) -> tuple[State, Info]:
        walk = Walk(target, target.evaluate(state.position, batch), [])
        for w, d, g, last_noise, buffer in walk.pieces(state):  # block by block, to stay in the cache
            noise = fill_noise(rng, buffer)  # each chain's from its own stream
            w.add_(g, alpha=-step_size * target.nbeta / 2).add_(d, alpha=-step_size * target.gamma / 2)
            w.add_(last_noise + noise, alpha=step_size**0.5 / 2)
            last_noise.copy_(noise)
        return state._replace(step=state.step + 1), walk.info()  # Info is of the state before the step

    return Sampler(init, step)


if __name__ == "__main__":  # its truth test: variance 1/κ at εκ = 1, where SGLD gives 4/3 of it
    from bitsandnats._rng import streams
    from bitsandnats.toys import quadratic

    task, chains = quadratic([1.0] * 50), 8
    posterior = LocalPosterior(task, nbeta=90.0, gamma=10.0)
    sampler = leimkuhler_matthews(posterior, step_size=0.01)
    rng = streams(0, range(chains))
    state = sampler.init(rng, {"w": task.center["w"].repeat(chains, 1)})
    squares = []
    for _ in range(1500):
        state, info = sampler.step(rng, state, None)
        squares.append(info.statistics["distance_squared"].mean() / task.dimension)
    ratio = float(torch.stack(squares[100:]).mean()) * 100
    print(f"variance times κ: {ratio:.3f}, exactly 1 expected")
    assert abs(ratio - 1) < 0.02
