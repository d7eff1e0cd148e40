"""Influence, kernels and susceptibilities as tables in the terminal."""

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from bitsandnats.cli import console
from bitsandnats.cli.tables import show_verdict

_QUERIES, _INPUTS, _NAMED = 16, 16, 3


def show_influence(found: Any) -> None:
    """Each query with the samples that help and harm it most."""
    from bitsandnats.estimators.bif import SIGN

    out = console.output()
    show_verdict(str(found), found.verdict.status, out)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("query", "helped by", "harmed by", "reliability"):
        table.add_column(name, no_wrap=name in ("query", "reliability"))
    data = found.dataset
    rows = min(_QUERIES, found.bif.shape[0])
    for row in range(rows):
        helpful, harmful = found.top(row, _NAMED)
        place = _place(data["query_item"].values[row], data["query_token"].values[row])
        reliability = float(data["reliability_over_draws"].values[row])
        helped, harmed = (Text(", ".join(map(_named, side))) for side in (helpful, harmful))
        table.add_row(place, helped, harmed, f"{reliability:.2f}")
    out.print(table)
    if found.bif.shape[0] > rows:
        out.print(f"and {found.bif.shape[0] - rows} queries more", highlight=False)
    out.print(SIGN, highlight=False)
    suspects = ", ".join(_place(s.item, s.token) for s in found.suspects(10))
    out.print(
        f"losses of training samples that vary most (memorised, rare or mislabelled): {suspects}", highlight=False
    )


def show_kernel(found: Any) -> None:
    """Each input with those that it is most alike."""
    out = console.output()
    show_verdict(str(found), found.verdict.status, out)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("input", "moves with (correlation)"):
        table.add_column(name)
    inputs = len(found.neighbours)
    rows = min(_INPUTS, inputs)
    for row in range(rows):
        near = zip(found.neighbours[row][:5], found.correlation[row], strict=False)
        table.add_row(str(row), ", ".join(f"{i} ({r:+.2f})" for i, r in near))
    out.print(table, highlight=False)
    if inputs > rows:
        out.print(f"and {inputs - rows} inputs more", highlight=False)


def show_susceptibility(found: Any) -> None:
    """Each component's responses to the probes, each over the row's s.d."""
    out = console.output()
    show_verdict(str(found), found.verdict.status, out)
    data = found.dataset
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("component", no_wrap=True)
    for name in (*(str(p) for p in data["probe"].values), "φ", "reliability"):
        table.add_column(name, justify="right", no_wrap=True)
    worst = found.reliability.over_draws
    for i, name in enumerate(data["component"].values):
        chi, se = found.response[i], data["response_se"].values[i]
        cells = [f"{c:+.2g} ± {e:.1g}" for c, e in zip(chi, se, strict=True)]
        table.add_row(str(name), *cells, f"{data['phi'].values[i]:.2g}", f"{worst[i]:.2f}")
    out.print(table, highlight=False)
    out.print("right up to a factor a component: compare probes along a row", highlight=False)


def _named(named: Any) -> str:
    return f"{_place(named.item, named.token)} ({named.influence:+.2g})"


def _place(item: Any, token: Any) -> str:
    return f"{item}" if token < 0 else f"{item}:{token}"


def show_refined(record: dict[str, Any], page: Any, json: bool) -> None:
    """One row an estimate; or all of the record as JSON."""
    if json:
        console.show_json(record)
        return
    out, rows = console.output(), record["refined"]
    show_verdict(record["verdict"]["text"], record["verdict"]["status"], out)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    several = [name for name in ("checkpoint", "component", "data") if len({row[name] for row in rows}) > 1]
    for name in several or ["component"]:
        table.add_column(name, no_wrap=True)
    for name in ("weights", "λ̂, nats", "R̂"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in rows:
        llc = "—" if row["llc"] is None else f"{row['llc']:.3g} ± {row['se']:.1g}" if row["se"] else f"{row['llc']:.3g}"
        rhat = "—" if row["rhat"] is None else f"{row['rhat']:.2f}"
        places = [str(row[name]) for name in several or ["component"]]
        table.add_row(*map(Text, places), f"{row['dimension']:,}", llc, rhat, row["verdict"]["status"])
    out.print(table, highlight=False)
    console.show_page(page)
