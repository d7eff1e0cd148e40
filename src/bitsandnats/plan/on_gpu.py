"""A plan for a GPU that need not be here: its published peak, an assumed utilisation, and arithmetic."""

import math
from collections.abc import Sequence

from bitsandnats.errors import InputError, message
from bitsandnats.plan.gpus import named_gpu
from bitsandnats.plan.types import Plan, Shape, Stage
from bitsandnats.settings import Settings

_START = 60.0  # seconds, of loading
_PASSES = {"sgld": 6, "rmsprop_sgld": 11}  # over an array of the weights' size, each read or written, of an update
_EIGHTH = 0.25  # of an array: the slope at w*, kept in eight bits
_ROOM = 0.97  # of the memory may be filled


def plan_on_gpu(
    gpu: str,
    shape: Shape,
    stages: Sequence[Stage],
    settings: Settings,
    *,
    utilisation: float = 0.4,
    disk: float = 0.0,
    times: int = 1,
) -> Plan:
    r"""Time $=\mathrm{FLOP}/(u\,P)$ with u the utilisation and P the peak, and the updates at the memory's bandwidth.

    Memory = w* (unless the CPU keeps it), position, gradient and the sampler's arrays; copies of the weights in lower
    precision; what a micro-batch keeps, which is as large as fits. With `center` cpu every step fetches w* at the
    link's published speed, and waits for it. Checked in `tests/test_plan.py`.

    Args:
        gpu: of `GPUS`.
        shape: of the model; its bytes in the precision of `settings`.
        stages: of the work.
        settings: of the sampler.
        utilisation: share of the peak that products reach, in (0, 1].
        disk: bytes that are written.
        times: checkpoints.

    Raises:
        InputError: a GPU that is not known, a utilisation out of range, or a model that does not fit.
    """
    device = named_gpu(gpu)
    if not 0 < utilisation <= 1:
        raise InputError(message(expected="a utilisation above 0, at most 1", got=str(utilisation), do="give 0.4"))
    peak = device.peak(settings.precision)
    array = 4.0 * shape.parameters
    sampler = settings.sampler.partition("(")[0]
    extra = 1 if sampler in ("rmsprop_sgld", "sghmc", "sgnht") else 2 if sampler == "adam_sgld" else 0
    paged = settings.center == "cpu"
    host = 1.0 + (_EIGHTH if settings.statistics == "step" else 0.0)  # w*, and the slope at it
    arrays = 2 + extra + (0.0 if paged else host)
    held = arrays * array + shape.pass_bytes
    room = _ROOM * device.memory - held
    batch = min(settings.batch_size, shape.items)
    asked = settings.micro_batch if isinstance(settings.micro_batch, int) else batch
    fitting = min(math.floor(room / max(shape.item_bytes, 1.0)), batch, asked)
    if fitting < 1:
        raise InputError(
            message(
                expected=f"{held / 1e9:.0f} GB and one item of {shape.item_bytes / 1e9:.1f} GB within {device.name}'s "
                f"{device.memory / 1e9:.0f} GB",
                got="too little memory",
                do="use --checkpointing, a shorter context, another sampler or a larger GPU",
            )
        )
    rate = utilisation * peak
    seconds = [shape.forward_flops * stage.forwards(shape) / rate for stage in stages]
    steps = settings.chains * settings.steps
    moving = steps * _PASSES.get(sampler, 9) * array / device.bandwidth
    at = next((i for i, stage in enumerate(stages) if stage.name == "draws"), None)
    lines = [
        f"{stage.name}: {'about ' if stage.about else ''}{stage.passes:g} × {stage.items} items × "
        f"{stage.forwards(shape) / (stage.passes * stage.items):g} × {shape.forward_flops:.4g} FLOP = "
        f"{shape.forward_flops * stage.forwards(shape):.4g} FLOP; / ({utilisation:g} × {peak / 1e12:g} TFLOP/s) "
        f"= {span:.1f} s"
        for stage, span in zip(stages, seconds, strict=True)
    ]
    if at is not None:
        seconds[at] += moving
        lines.append(
            f"updates: {steps} steps × {_PASSES.get(sampler, 9)} passes × {array / 1e9:.2f} GB / "
            f"{device.bandwidth / 1e12:g} TB/s = {moving:.1f} s"
        )
    if at is not None and paged:
        fetching = steps * host * array / device.link
        seconds[at] += fetching
        lines.append(
            f"w* from the host: {steps} steps × {host:g} × {array / 1e9:.2f} GB / {device.link / 1e9:g} GB/s "
            f"= {fetching:.1f} s"
        )
    lines.append(
        f"memory: {arrays:g} arrays × {array / 1e9:.2f} GB + {shape.pass_bytes / 1e9:.2f} GB of rounded weights + "
        f"{fitting} items × {shape.item_bytes / 1e9:.2f} GB; micro-batch {fitting} of {batch}"
    )
    memory = held + fitting * shape.item_bytes
    weights = 4.0 * shape.parameters * times
    return Plan(device.name, shape, tuple(stages), tuple(seconds), _START, memory, disk, weights, times, tuple(lines))
