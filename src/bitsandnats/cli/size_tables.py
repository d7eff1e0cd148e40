"""Tables of bytes in the terminal."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from bitsandnats.cli import console


def show_complexity(label: str, found: Sequence[Any]) -> None:
    """Bytes at each tolerance, and what other coders make of the same networks."""
    out = console.output()
    out.print(f"{label}: {found[0].method}, {len(found[-1].trials)} networks tried", markup=False, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    sizes = [c.sizes() for c in found]
    tested = found[0].test_loss is not None
    for name in ("tolerance", "bytes", "bits/parameter", "ΔL ± se", *(["test loss"] if tested else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for name in list(sizes[0])[1:]:
        table.add_column(name, justify="right")
    for c, others in zip(found, sizes, strict=True):
        test = [f"{c.test_loss:.4g}"] if tested else []
        table.add_row(
            f"{c.tolerance:g}",
            str(c.bytes),
            f"{c.bits_per_parameter:.3g}",
            f"{c.excess_loss:.3f} ± {c.excess_loss_se:.3f}",
            *test,
            *(str(n) for n in list(others.values())[1:]),
        )
    out.print(table, highlight=False)


def show_written(record: dict[str, Any]) -> None:
    """A file that was written."""
    loss = f"ΔL = {record['excess_loss']:.3f} ± {record['excess_loss_se']:.3f}"
    console.say(f"{record['file']}: {record['file_bytes']} bytes within ε = {record['tolerance']:g}, {loss}")
