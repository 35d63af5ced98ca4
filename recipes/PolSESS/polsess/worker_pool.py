"""Pool of single-threaded processes that end with their parent."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, resource_tracker
from typing import Any

from polsess.errors import UserError

# Read by libraries when they are loaded. One thread each, since the processes
# already use all cores; and sums keep the order of their terms.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ENVIRONMENT = dict.fromkeys(THREADS, "1")
ENVIRONMENT["SB_LOG_LEVEL"] = "ERROR"  # SpeechBrain's warnings: the parent's


class WorkerPool(ProcessPoolExecutor):
    """Pool of processes that ignore Ctrl-C, and end with this one.

    Their imports begin at once, the processes themselves with the first task.
    Leaving its context cancels pending tasks, and turns the error of a killed
    process into a ``UserError``.

    Arguments
    ---------
    jobs : int
        Number of processes.
    imports : list of str
        Modules that are slow to import, which the processes share. None of
        this recipe's: the server may find another copy of it.

    Example
    -------
    >>> with WorkerPool(1, []) as pool:
    ...     pool.submit(abs, -1).result()
    1
    """

    def __init__(self, jobs: int, imports: list[str]) -> None:
        # A server that is forked before any thread starts and before a GPU is
        # used: safe, and each process is there in milliseconds.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(imports)
        before = os.environ.copy()
        os.environ.update(ENVIRONMENT)
        resource_tracker.ensure_running()  # first, since it unblocks SIGINT
        with block_sigint():
            forkserver.ensure_running()
        os.environ.clear()
        os.environ.update(before)
        super().__init__(jobs, context, initializer=_start_worker)
        self.jobs = jobs

    def submit(
        self, function: Callable, /, *arguments: Any, **options: Any
    ) -> Future:
        """Run a function in one of the processes."""
        # It may start a process; and an interruption could leave a lock of the
        # task held, for which leaving the context would wait.
        with block_sigint():
            return super().submit(function, *arguments, **options)

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """Cancel pending tasks, and wait for the others."""
        self.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "a worker process was killed; go on with fewer --jobs"
            ) from error


@contextlib.contextmanager
def block_sigint() -> Iterator[None]:
    """Block SIGINT while child processes start.

    They inherit the block and never get it; this process gets it afterwards.
    """
    came = []
    # The mask alone is not enough: another thread may get the signal.
    handler = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _start_worker():
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    # Without this, the processes of a killed command would wait for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
