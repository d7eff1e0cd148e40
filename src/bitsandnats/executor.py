"""Where work is done: here, or in processes; one interface for both."""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any

from bitsandnats._types import Progress

Work = Callable[[Any, Progress], Any]
"""One unit: `(item, progress) -> result`; picklable where it runs in processes."""

_events: Any = None  # in a worker: the queue that progress goes to


def run_here(
    work: Work, items: Sequence[Any], progress: Callable[[int, str, int, int], None]
) -> Iterator[tuple[int, Any]]:
    """Results in the order of `items`, computed in this process.

    Args:
        work: what to do with an item.
        items: one a unit.
        progress: told of `(index, stage, done, total)`.
    """
    for index, item in enumerate(items):
        yield index, work(item, lambda stage, done, total, at=index: progress(at, stage, done, total))


def run_in_processes(
    work: Work, items: Sequence[Any], progress: Callable[[int, str, int, int], None], *, workers: int
) -> Iterator[tuple[int, Any]]:
    """Results as they are finished, each computed by one of several processes with one torch thread.

    A unit's numbers do not depend on the number of workers. An interrupt ends the workers at once; what they had
    stored is kept.

    Args:
        work: a function at the top level of a module.
        items: picklable, one a unit.
        progress: told of `(index, stage, done, total)`, in this process.
        workers: processes.
    """
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    stop = threading.Event()
    listener = threading.Thread(target=_listen, args=(events, progress, stop), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(events,))
    try:
        futures: dict[Future[Any], int] = {pool.submit(_do, work, i, item): i for i, item in enumerate(items)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        stop.set()
        listener.join()
        events.close()


def _start(events: Any) -> None:
    global _events
    _events = events
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    os.environ["OMP_WAIT_POLICY"] = "passive"
    import torch

    torch.set_num_threads(1)


def _do(work: Work, index: int, item: Any) -> Any:
    return work(item, lambda stage, done, total: _events.put((index, stage, done, total)))


def _listen(events: Any, progress: Callable[[int, str, int, int], None], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            progress(*events.get(timeout=0.2))
        except queue.Empty:
            continue
