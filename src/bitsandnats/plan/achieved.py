"""What a measurement did cost, for the same quantities as the plan's."""

import time
from typing import Any

import torch
import xarray as xr

from bitsandnats.plan.at_hand import peak_memory
from bitsandnats.plan.gpus import GPUS
from bitsandnats.plan.work import forward_flops
from bitsandnats.task import Task


def achieved(task: Task, tree: xr.DataTree) -> dict[str, Any]:
    """Products a second of the draws, peak memory and processor time of the process so far, as plain values.

    `utilisation` is the share of the published peak where the device's is known (`plan.GPUS`), else None.

    Args:
        task: that was measured.
        tree: of the draws.
    """
    attrs = tree.attrs
    passes = int(attrs["chains"]) * (int(attrs["draws"]) + int(attrs["burn_in"]))
    work = 3 * forward_flops(task) * passes * min(int(attrs["batch_size"]), int(attrs["items"]))
    seconds = float(attrs["seconds"])
    name = torch.cuda.get_device_name(task.device) if task.device.type == "cuda" else "cpu"
    known = [gpu for short, gpu in GPUS.items() if short in name.lower()]
    peak = known[0].peak(attrs["precision"]) if known else None
    return {
        "device": name,
        "draw_flops": work,
        "draw_seconds": seconds,
        "flops_per_second": work / seconds,
        "utilisation": None if peak is None else work / seconds / peak,
        "peak_memory": peak_memory(task.device),
        "processor_seconds": time.process_time(),
    }
