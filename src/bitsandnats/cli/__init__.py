"""The command line: verbs only, no arithmetic."""

import sys


def main() -> None:
    """Runs a command; a user's error is one sentence and a non-zero exit, an interrupt keeps what is finished."""
    from bitsandnats.cli.app import app
    from bitsandnats.errors import BitsAndNatsError

    try:
        app(prog_name="bitsandnats")
    except BitsAndNatsError as error:
        _say(f"error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        _say("interrupted: what is finished is kept; the same command goes on from there")
        sys.exit(130)


def _say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(text, style="red", markup=False, highlight=False, soft_wrap=True)
