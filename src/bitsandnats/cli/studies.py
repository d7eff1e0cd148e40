"""What the commands of studies share: run one, write its report, show what it found."""

from collections.abc import Callable
from typing import Any

from bitsandnats.cli import console


def conducted(
    study: Callable[..., Any], shares: dict[str, float], *, show: Callable[[dict[str, Any]], None], json: bool = False
) -> None:
    """Runs a study and shows its tables and the place of its report.

    Args:
        study: a study of which all is settled but `command` and `progress`; gives its run.
        shares: of the time, by the stages that the study tells of and `report`.
        show: its summary on the terminal.
        json: print the summary as JSON instead.
    """
    from bitsandnats.report import write_report

    with console.job(shares) as job:
        run = study(
            command=console.command_line(),
            progress=lambda stage, done, total: job.at(stage, done / total, f"{stage}, {done / total:.0%}"),
        )
        job.at("report", 0.5, "writing the report")
        page = write_report(run.path)
    if json:
        console.show_json(run.summary())
        return
    show(run.summary())
    console.say(f"tables: {run.path / 'tables.md'}")
    console.show_page(page)
