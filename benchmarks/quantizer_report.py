"""The page that `quantizer_peers.py` writes."""

from typing import Any

import numpy as np

OURS = ("bitsandnats optimal", "bitsandnats largest")
PEERS = ("torchao SYMMETRIC", "torchao SYMMETRIC_NO_CLIPPING_ERR", "torchao scale-only HQQ")


def page(rows: list[Any], model: str, command: str, versions: dict[str, str]) -> str:
    """Loss increases by checkpoint, bits and method, and whether ours is worse than the best of the peer's.

    Args:
        rows: `quantizer_peers.Row`, all methods of all cases.
        model: its shape, in words.
        command: what remakes the page.
        versions: of what took part.
    """
    lines = [
        "# Quantization beside torchao",
        "",
        f"`{command}` (a Python that has torchao), one thread. "
        + ", ".join(f"{name} {text}" for name, text in versions.items())
        + ".",
        "",
        f"Weights only, symmetric, one range a tensor, all moving tensors of a small GPT-NeoX ({model}) with folded",
        "layer norms. Ranges that look at the loss (`optimal`) do so on training text. Entries: ΔL on held-out text,",
        "nats a token; the last column is paired, item by item.",
        "",
        "## The same values: 2^b − 1, as many on either side of zero",
        "",
        *_table(rows, own=False),
        "## torchao at its own 2^b values",
        "",
        "One of them has no counterpart of the other sign. At few bits it is a large part of what there is: at 2 bits",
        "four values stand against three.",
        "",
        *_table(rows, own=True),
    ]
    return "\n".join(lines)


def _table(rows: list[Any], *, own: bool) -> list[str]:
    """One line a checkpoint and number of bits, then in how many ours is at least as good."""
    cases = list(dict.fromkeys((row.checkpoint, row.bits) for row in rows))
    methods = OURS + PEERS
    lines = [
        "| checkpoint | bits | " + " | ".join(methods) + " | optimal less the best of torchao |",
        "|" + "---|" * (len(methods) + 3),
    ]
    worse, less = 0, 0
    for checkpoint, bits in cases:
        codes = 2**bits - (not own)
        found = {
            row.method: row
            for row in rows
            if (row.checkpoint, row.bits) == (checkpoint, bits) and (row.method in OURS or row.codes == codes)
        }
        best = min((found[name] for name in PEERS), key=lambda row: row.excess)
        items = found[OURS[0]].items - best.items
        difference, error = float(items.mean()), float(items.std(ddof=1) / np.sqrt(len(items)))
        worse += difference > 2 * error
        less += difference <= 0
        cells = [f"{found[name].excess:+.4f}" for name in methods]
        cells.append(f"{difference:+.4f} ± {error:.4f} ({best.method})")
        lines.append(f"| {checkpoint} | {bits} | " + " | ".join(cells) + " |")
    said = (
        f"ΔL of `optimal` is at most that of the best of torchao's three in {less} of {len(cases)} cases, and larger by "
        f"more than two paired standard errors in {worse}."
    )
    return [*lines, "", said, ""]
