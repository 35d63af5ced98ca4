"""Run independent tasks on several processes."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Self

from polsess.errors import UserError
from tqdm import tqdm

# One thread a process: the processes already use all cores, and sums keep the
# order of their terms.
SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# What takes long to import; the workers inherit it from the fork server.
SLOW_IMPORTS = ["pyroomacoustics", "scipy.signal", "soundfile", "tqdm"]


class Workers:
    """Processes that work through lists of tasks.

    They are started when the first list comes and used again for the next.

    Arguments
    ---------
    jobs : int
        How many processes; 1 works in this one.

    Example
    -------
    >>> with Workers(1) as workers:
    ...     workers.run(abs, [-1, 2], "", "number", quiet=True)
    [1, 2]
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Processes start when there is work."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drops what has not begun and waits for the rest."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def run(
        self,
        function: Callable,
        tasks: list,
        title: str,
        unit: str,
        sizes: list[int] | None = None,
        quiet: bool = False,
    ) -> list:
        """Calls a function for every task, with a progress bar.

        Arguments
        ---------
        function : callable
            Takes one task; must be importable.
        tasks : list
            Anything that can be pickled.
        title : str
            What the progress bar says.
        unit : str
            What it counts.
        sizes : list of int or None
            How many units each task has; None means one.
        quiet : bool
            Shows no progress bar.

        Returns
        -------
        results : list
            What the function returned, in the order of the tasks.

        Raises
        ------
        UserError
            The first that a task raised, or when a process was killed.
        """
        sizes = sizes or [1] * len(tasks)
        bar = tqdm(
            total=sum(sizes), desc=title, unit=unit, disable=quiet or not tasks
        )
        with bar:
            if self.jobs == 1 or len(tasks) <= 1:
                results = []
                for task, size in zip(tasks, sizes, strict=True):
                    results.append(function(task))
                    bar.update(size)
                return results
            return self._share(function, tasks, sizes, bar)

    def _share(self, function, tasks, sizes, bar):
        if self.pool is None:
            self.pool = _start_pool(self.jobs)
        futures = [self.pool.submit(function, task) for task in tasks]
        size_of = dict(zip(futures, sizes, strict=True))
        try:
            for future in as_completed(futures):
                future.result()
                bar.update(size_of[future])
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed (out of memory?); run the same "
                "command again to go on, with fewer --jobs"
            ) from error
        return [future.result() for future in futures]


def _start_pool(jobs):
    for name in SINGLE_THREADED:
        os.environ[name] = "1"
    # A server that is forked before any thread starts: safe, and each worker
    # is there in milliseconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(SLOW_IMPORTS)
    return ProcessPoolExecutor(jobs, context, initializer=_start_worker)


def _start_worker():
    """Lets Ctrl-C be the parent's business and ends with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    # Without this, the workers of a killed run would go on writing beside
    # those of the run that is started again.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
