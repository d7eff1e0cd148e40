"""`bitsandnats selftest`: known answers, measured here and now."""

import typer

from bitsandnats.cli import console, experiment_tables, options

EXAMPLES = ("bitsandnats selftest", "bitsandnats selftest --json")


def selftest(seed: options.Seed = 0, json: options.Json = False) -> None:
    """Measures models whose answer is known, with nothing set by hand; exit code 1 if one comes out wrong."""
    from bitsandnats.recipes.selftest import selftest as run_selftest

    with console.job({"checks": 1.0}) as job:

        def progress(stage: str, done: int, total: int) -> None:
            job.at("checks", done / total, stage)

        checks = run_selftest(seed=seed, progress=progress)
    if json:
        console.show_json([check.as_record() for check in checks])
    else:
        experiment_tables.show_checks(checks)
    if not all(check.passed for check in checks):
        raise typer.Exit(1)
