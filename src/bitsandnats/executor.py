"""Where work is done: here, in threads, or in processes."""

import atexit
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from bitsandnats._types import Progress
from bitsandnats.errors import BitsAndNatsError, message

Work = Callable[[Any, Progress], Any]
"""One unit: `(item, progress) -> result`; picklable where it runs in processes."""

_events: Any = None  # in a worker: the queue that progress goes to


def run_here(
    work: Work, items: Sequence[Any], progress: Callable[[int, str, int, int], None]
) -> Generator[tuple[int, Any], None, None]:
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
) -> Generator[tuple[int, Any], None, None]:
    """Results as they are finished, each computed by one of several processes with one torch thread.

    A unit's numbers do not depend on the number of workers. An interrupt ends the workers at once; what they had
    stored is kept. Workers end with this process, however it ends.

    Args:
        work: a function at the top level of a module.
        items: picklable, one a unit.
        progress: told of `(index, stage, done, total)`, in this process.
        workers: processes.

    Raises:
        BitsAndNatsError: a worker was ended from outside.
    """
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    stop = threading.Event()
    listener = threading.Thread(target=_listen, args=(events, progress, stop), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(events,))
    try:
        with _interrupts_held_back():
            futures: dict[Future[Any], int] = {pool.submit(_do, work, i, item): i for i, item in enumerate(items)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise BitsAndNatsError(
            message(
                expected="workers that finish their checkpoints",
                got="one that was ended from outside, perhaps for want of memory",
                do="run it again with fewer workers; what is finished is kept",
            )
        ) from None
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        stop.set()
        listener.join()
        events.close()


def run_in_threads(work: Callable[[Any, Any], Any], items: Sequence[Any], owned: Sequence[Any]) -> list[Any]:
    """Results in the order of `items`, computed by threads of this process.

    For work that spends its time outside of Python, as large tensors do, and cannot be sent to processes.

    Args:
        work: `(item, what the thread owns) -> result`.
        items: one a unit.
        owned: one a thread: what only one thread may use at a time. With one, no thread is started.
    """
    if len(owned) == 1 or len(items) < 2:
        return [work(item, owned[0]) for item in items]
    free: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for one in owned:
        free.put(one)

    def run(item: Any) -> Any:
        mine = free.get()
        try:
            return work(item, mine)
        finally:
            free.put(mine)

    with ThreadPoolExecutor(len(owned)) as pool:
        return list(pool.map(run, items))


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes started inside never see an interrupt, not even while they start; this one sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(events: Any) -> None:
    global _events
    _events = events
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_WAIT_POLICY"] = "passive"
    import torch

    torch.set_num_threads(1)


def _end(*_: Any) -> None:
    """Ends a worker and gives back what libraries took from the system, or the parent would complain of leaks."""
    _events.cancel_join_thread()
    atexit._run_exitfuncs()
    os._exit(1)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(work: Work, index: int, item: Any) -> Any:
    return work(item, lambda stage, done, total: _events.put((index, stage, done, total)))


def _listen(events: Any, progress: Callable[[int, str, int, int], None], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            progress(*events.get(timeout=0.2))
        except queue.Empty:
            continue
