"""A plan, and a doctor's findings, as lines for the terminal."""

from typing import Any

from rich import box
from rich.table import Table

from bitsandnats.cli import console


def show_plan(verb: str, plan: Any, actual: dict[str, Any] | None) -> None:
    """The stages with their work and time, the totals, the arithmetic, and what was achieved."""
    out = console.output()
    shape, times = plan.shape, plan.times
    out.print(f"{verb} on {plan.where}", highlight=False)
    said = f"{shape.parameters:,} parameters that move, {shape.forward_flops:.3g} FLOP a loss of one item"
    out.print(f"{said}, {shape.items} items of {shape.context} tokens" if shape.context > 1 else said, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("stage", "passes", "items", "FLOP", "time"):
        table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
    for stage, seconds in zip(plan.stages, plan.seconds, strict=True):
        passes = f"{'about ' if stage.about else ''}{stage.passes:g}"
        work = f"{shape.forward_flops * stage.forwards(shape):.2g}"
        table.add_row(stage.name, passes, str(stage.items), work, span(seconds))
    out.print(table)
    if times > 1:
        out.print(f"{times} checkpoints, each of them so", highlight=False)
    out.print(
        f"time         {span(plan.total_seconds)} (of which {span(plan.start_seconds)} to start)", highlight=False
    )
    out.print(f"work         {plan.flops:.3g} FLOP", highlight=False)
    out.print(f"peak memory  {size(plan.memory)}", highlight=False)
    out.print(f"disk         {size(plan.disk)}; weights in float32 {size(plan.download)}", highlight=False)
    for line in plan.arithmetic:
        console.say(f"  {line}")
    if actual is not None:
        share = "" if actual["utilisation"] is None else f", {actual['utilisation']:.1%} of the published peak"
        console.say(
            f"achieved     {actual['flops_per_second'] / 1e9:.3g} GFLOP/s by the draws on {actual['device']}{share}; "
            f"peak memory {size(actual['peak_memory'])}, {span(actual['processor_seconds'])} of processor time"
        )


def span(seconds: float) -> str:
    """A time as a reader wants it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes as a reader wants them."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
