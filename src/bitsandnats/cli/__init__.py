"""The command line: verbs only, no arithmetic."""

import os
import sys


def main() -> None:
    """Runs a command; a user's error is one sentence and a non-zero exit, an interrupt keeps what is finished."""
    # threads that spin at barriers make torch several times slower as soon as another process wants a core
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
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
