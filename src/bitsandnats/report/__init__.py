"""Page and figures of a run. Reads only the run folder; the only room that imports the plotting library."""

import os
from functools import partial
from pathlib import Path

from bitsandnats.errors import InputError, StoreError, message


def write_report(folder: str | Path, *, images: bool = True) -> Path:
    """Writes `report.html`, and with `images` `figures/NAME.svg` and `.png`, from what the run folder holds.

    May be called again at any time; each file is replaced as a whole.

    Returns:
        The page's path.

    Raises:
        StoreError: there is no readable run in the folder, or it cannot be written to.
        InputError: the plotting library is not installed.
    """
    # imported here: the command line should start without the plotting library, and say what to do where it is missing
    try:
        import vl_convert

        from bitsandnats.report.experiment_page import EXPERIMENTS
        from bitsandnats.report.explore import explore
        from bitsandnats.report.figures import figures
        from bitsandnats.report.page import VEGA_LITE, render
        from bitsandnats.report.refined_figures import refined_figures
        from bitsandnats.report.style import spec
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("altair", "jinja2", "vl_convert"):
            raise
        do = "run: pip install 'bitsandnats[report]'"
        raise InputError(message(expected="the report's libraries", got=f"no module {error.name}", do=do)) from error
    from bitsandnats.report.tables import read
    from bitsandnats.store import open_run

    folder = Path(folder)
    run = open_run(folder)
    kind = run.summary().get("kind")
    if kind in EXPERIMENTS:
        found, page = EXPERIMENTS[kind](run)
    else:
        tables = read(run)
        found = figures(tables) + refined_figures(tables.summary)
        page = partial(render, tables, found, explored=explore(run, tables.summary))
    specs = {figure.name: spec(figure.chart) for figure in found}
    if images:
        for name, chart in specs.items():
            picture = vl_convert.vegalite_to_svg(chart, vl_version=VEGA_LITE)
            _write(folder / "figures" / f"{name}.svg", picture.encode())
            _write(folder / "figures" / f"{name}.png", vl_convert.svg_to_png(picture, scale=2))
    return _write(folder / "report.html", page(specs).encode())


def _write(path: Path, content: bytes) -> Path:
    """Replaces a file as a whole: a reader sees the old one or the new one.

    Raises:
        StoreError: the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        got = error.strerror or type(error).__name__
        do = "make it writable, or copy the run folder elsewhere"
        raise StoreError(message(expected=f"to write {path}", got=got, do=do)) from None
    finally:
        if partial.exists():
            partial.unlink()
    return path
