"""Pictures of the traces behind each verdict, for docs/trust.md.

    python benchmarks/trust_pictures.py                  writes docs/images/trust-*.svg
    python benchmarks/trust_pictures.py drifting wide    only those

Each panel shows nβ(L(w) − L(w*)) along the chains, whose mean is λ̂; burn-in is shaded. What is run is in
`trust_runs.py`. Every run that is drawn must have the verdict that its picture is for, or the script stops.
"""

import argparse
import itertools
import math
import re
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import torch
import vl_convert
import xarray as xr
from trust_runs import PICTURES, Line, Panel, Quantity, crossing

from bitsandnats.estimators.llc import excess_trace
from bitsandnats.report.page import VEGA_LITE
from bitsandnats.report.resolution_figures import resolution_figure
from bitsandnats.report.style import CHAINS, spec, values

OUT = Path(__file__).parents[1] / "docs" / "images"
CURVE = "resolution"
POINTS = 130  # of a chain, at most
WIDTH, HEIGHT = 620, 140  # pixels
BETWEEN = 150  # of two panels: words on the right of one, the axis on the left of the other
LETTERS = 14
AXES = {"excess": "nβ (L(w) − L(w*)), nats", "loss": "L(w), nats", "distance": "‖w − w*‖²"}


def draw(panels: list[Panel]) -> str:
    """The panels side by side, as an SVG."""
    width = (WIDTH - BETWEEN * (len(panels) - 1)) // len(panels)
    return _svg(alt.hconcat(*(_panel(panel, width) for panel in panels), spacing=8))


def curve() -> str:
    """The resolution curve, as an SVG."""
    found = crossing()
    row = {"points": [vars(point) for point in found.points], "llc": found.llc, "se": found.se}
    chart = resolution_figure({"checkpoints": [{"label": "", "llc": {"resolution": row}}]})
    assert chart is not None
    print(found)
    return _svg(chart)


def _svg(chart: alt.TopLevelMixin) -> str:
    svg = vl_convert.vegalite_to_svg(spec(chart), vl_version=VEGA_LITE)
    return re.sub(r"<[^>]+>", _rounded, svg)


def _rounded(tag: re.Match[str]) -> str:
    """A tag whose numbers have one decimal: a tenth of a pixel is enough."""
    return re.sub(r"-?\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", tag[0])


def _panel(panel: Panel, width: int) -> alt.LayerChart:
    rows, ends = _rows(panel)
    domain = panel.domain or _domain([row["value"] for row in rows] + [line.height for line in panel.lines])
    x = alt.X(
        "draw:Q",
        title="draw",
        scale=alt.Scale(domain=ends, nice=False),
        axis=alt.Axis(tickCount=min(5, ends[1] - ends[0]), format="d", grid=False),
    )
    y = alt.Y(
        "value:Q",
        title=AXES[panel.quantity],
        scale=alt.Scale(type=panel.scale, domain=domain, nice=False, clamp=True),
        axis=alt.Axis(tickCount=4, labelFlush=True, format=".3~r" if panel.scale == "linear" else ".0e"),
    )
    colour = alt.Color("chain:O", scale=alt.Scale(domain=list(range(8)), range=CHAINS), legend=None)
    layers = []
    if ends[0] < 0:
        band = alt.Chart(values([{"draw": ends[0], "stop": 0}]))
        layers.append(band.mark_rect(color="#eef0f2", opacity=1).encode(x=x, x2="stop:Q"))
    layers.append(alt.Chart(values(rows)).mark_line(strokeWidth=1, opacity=0.85).encode(x=x, y=y, color=colour))
    for line, place in zip(panel.lines, _places(panel.lines, domain), strict=True):
        rule = alt.Chart(values([{"value": line.height, "text": line.text}]))
        layers.append(rule.mark_rule(color=line.colour, strokeDash=line.dash, strokeWidth=1.6).encode(y=y))
        label = rule.mark_text(align="left", color=line.colour, fontSize=11, fontWeight=600)
        layers.append(label.encode(x=alt.value(width + 6), y=alt.value(place), text="text:N"))
    return alt.layer(*layers, width=width, height=HEIGHT, title=panel.title)


def _domain(heights: list[float]) -> tuple[float, float]:
    low, high = min(heights), max(heights)
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _places(lines: tuple[Line, ...], domain: tuple[float, float]) -> list[float]:
    """Pixels from the top at which the lines' words stand, none on another."""
    places = {line: HEIGHT * (domain[1] - line.height) / (domain[1] - domain[0]) for line in lines}
    order = sorted(lines, key=lambda line: places[line])
    for upper, lower in itertools.pairwise(order):
        overlap = LETTERS - (places[lower] - places[upper])
        if overlap > 0:
            places[upper] -= overlap / 2
            places[lower] += overlap / 2
    return [places[line] for line in lines]


def _rows(panel: Panel) -> tuple[list[dict[str, Any]], list[int]]:
    """What is drawn, at most `POINTS` of a chain; burn-in has negative draws."""
    tree = panel.run.tree
    parts = [part for part in ("burn_in", "draws") if tree[part].dataset.sizes["draw"]]
    trace = np.concatenate([_quantity(tree, part, panel.quantity) for part in parts], 1)
    start = -tree["burn_in"].dataset.sizes["draw"]
    stride = math.ceil(trace.shape[1] / POINTS)
    rows = [
        {"chain": chain, "draw": start + at, "value": float(f"{trace[chain, at]:.4g}")}
        for chain in panel.chains
        if chain < len(trace)
        for at in range(0, trace.shape[1], stride)
        if math.isfinite(trace[chain, at])
    ]
    return rows, [start, start + trace.shape[1]]


def _quantity(tree: xr.DataTree, part: str, quantity: Quantity) -> np.ndarray:
    if quantity == "distance":
        return tree[part].dataset["distance_squared"].values
    if quantity == "loss":
        return tree[part].dataset["loss"].values
    return float(tree.attrs["nbeta"]) * excess_trace(tree, part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], CURVE, *PICTURES], help="all by default")
    torch.set_num_threads(1)
    for name in parser.parse_args().names or [CURVE, *PICTURES]:
        svg = curve() if name == CURVE else draw(checked(name))
        (OUT / f"trust-{name.replace('_', '-')}.svg").write_text(svg + "\n", encoding="utf-8")
        print(f"{name}: {len(svg) / 1000:.0f} kB")


def checked(name: str) -> list[Panel]:
    """The panels of a picture, each with the verdict that it is for."""
    panels = PICTURES[name]()
    for panel in panels:
        said = str(panel.run.verdict)
        assert (said == "usable") if panel.says is None else (panel.says in said), f"{name}: {said}"
    return panels


if __name__ == "__main__":
    main()
