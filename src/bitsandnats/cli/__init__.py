"""The command line: verbs only, no arithmetic."""

import _thread
import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

_KEPT = {
    "demo": "what is finished is kept in the run folder, and the same command goes on from there",
    "study": "what is finished is kept in the run folder, and the same command goes on from there",
    "replay": "what is finished is kept in the new run folder, and the same command goes on from there",
    "train": "the checkpoints saved so far are kept, and the same command goes on from the last one",
    "llc": "nothing of this estimate is kept, and the same command begins it anew",
    "compress": "nothing of this measurement is kept, and the same command begins it anew",
    "reproduce": "what is finished is kept in the run folder, and the same command goes on from there",
    "selftest": "nothing is kept, and the same command begins anew",
    "report": "the run folder is as it was, and the same command writes its report anew",
}


def main() -> None:
    """Runs the command that was typed, and ends the process.

    Exit code 0 is success, 1 an error that the user can mend, 2 a command that cannot be read, 130 an interrupt; each
    of them is one sentence on standard error.
    """
    # threads that spin at barriers make torch several times slower as soon as another process wants a core
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    code: object = 130
    seen: list[int] = []
    try:
        with _no_interrupt_lost(seen):
            code = _run()
    except KeyboardInterrupt:
        code = 130
    except Exception:
        if not seen:  # an interrupt between two halves of an import can end as any error
            raise
        code = 130
    if code == 130:
        verb = next((word for word in sys.argv[1:] if word in _KEPT), None)
        _say("interrupted" + (f": {_KEPT[verb]}" if verb else ""))
        _leave(130)
    sys.exit(code if isinstance(code, int) else 0)


def _run() -> object:
    """Runs the command; the exit code, where it is not an interrupt's."""
    from bitsandnats.cli.app import app
    from bitsandnats.errors import BitsAndNatsError

    try:
        # `standalone_mode` off: the framework's own boxes around errors are not one sentence
        return app(sys.argv[1:] or ["--help"], prog_name="bitsandnats", standalone_mode=False)
    except BitsAndNatsError as error:
        _say(f"error: {error}")
        return 1
    except Exception as error:
        return _usage(error)


def _leave(code: int) -> NoReturn:
    """Ends an interrupted process with this code.

    The interpreter's own end would be by the signal where the interrupt had passed through `eval`, though it was
    caught; and a second interrupt would print a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _no_interrupt_lost(seen: list[int]) -> Iterator[None]:
    """Notes interrupts, and raises one again that fell into a callback (there are many while modules are imported)."""
    before = sys.unraisablehook
    handler = signal.getsignal(signal.SIGINT)
    # not where interrupts are ignored (a job in the background), nor in a thread, which cannot
    here = handler is signal.default_int_handler and threading.current_thread() is threading.main_thread()

    def interrupt(number: int, _frame: Any) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    def hook(ignored: Any) -> None:
        if ignored.exc_type is KeyboardInterrupt:
            threading.Timer(0.05, _thread.interrupt_main).start()
        else:
            before(ignored)

    sys.unraisablehook = hook
    if here:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        sys.unraisablehook = before
        if here:
            signal.signal(signal.SIGINT, handler)


def _usage(error: Exception) -> int:
    """Says what is wrong with the command, if that is what is wrong; raises anything else again."""
    said = getattr(error, "format_message", None)
    if said is None:
        if type(error).__name__ == "Abort":  # how older releases of the framework pass an interrupt on
            return 130
        raise error
    context = getattr(error, "ctx", None)
    path = "bitsandnats" if context is None else context.command_path
    _say(f"error: {' '.join(said().split()).rstrip('.')}; see '{path} --help'")
    return 2


def _say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(text, style="red", markup=False, highlight=False, soft_wrap=True)
