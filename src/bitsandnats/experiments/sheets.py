"""Tables of a study as text, for its page of Markdown and for its report alike."""

from collections.abc import Sequence
from typing import Any

Sheet = dict[str, Any]
"""`title`; `notes`, sentences above it; `head` and `rows`, cells of text; `wide`, too long for a first look."""


def sheet(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, notes: Sequence[str] = (), wide: bool = False
) -> Sheet:
    """One table as plain values."""
    return {"title": title, "notes": list(notes), "head": list(head), "rows": [list(row) for row in rows], "wide": wide}


def sheets_as_markdown(summary: dict[str, Any]) -> str:
    """A summary's sheets with its verdict and findings, the command, the versions and the machine.

    Args:
        summary: with `title`, `verdict`, `findings`, `provenance`, `rule`, `facts` and `sheets`.
    """
    made = summary["provenance"]
    lines = [
        f"# {summary['title']}",
        "",
        "```console",
        made.get("command") or f"bitsandnats reproduce {summary['kind']}",
        "```",
        "",
        f"{summary['verdict']['text']} bitsandnats {made['version']}, torch {made['torch']}, {made['platform']}, "
        f"{made['cores']} cores, {made.get('workers', 1)} process(es), seed {made['seed']}, "
        f"{made.get('seconds', 0):,.0f} seconds in the last sitting.",
        "",
        *(f"- {finding}" for finding in summary["findings"]),
        "",
        "## What was done",
        "",
        *(f"- {fact}" for fact in summary["facts"]),
        "",
        summary["rule"],
        "",
    ]
    for one in summary["sheets"]:
        notes = [line for note in one["notes"] for line in (note, "")]
        lines += [f"## {one['title']}", "", *notes, *_table(one["head"], one["rows"]), ""]
    return "\n".join(lines)


def number(value: float | None, form: str = ".2f") -> str:
    """A number, or a dash where there is none."""
    return "—" if value is None else f"{value:{form}}"


def spread(values: Sequence[float | None], form: str = ".2f") -> str:
    """Mean ± standard deviation, of those that there are."""
    known = [v for v in values if v is not None]
    if not known:
        return "—"
    mean = sum(known) / len(known)
    if len(known) < 2:
        return f"{mean:{form}}"
    return f"{mean:{form}} ± {(sum((v - mean) ** 2 for v in known) / (len(known) - 1)) ** 0.5:{form}}"


def span(found: dict[str, Any] | None, form: str = ".3f") -> str:
    """An interval, or a dash."""
    return "—" if found is None else f"[{found['low']:{form}}, {found['high']:{form}}]"


def yes(value: bool) -> str:
    """In words."""
    return "yes" if value else "no"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["None yet."]
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]
