"""Independent tasks on several processes."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from polsess.errors import UserError
from tqdm import tqdm

# One thread a process: the processes already use all cores, and sums keep the
# order of their terms.
SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# What takes long to import; the workers inherit it from the fork server.
SLOW_IMPORTS = [
    *("pandas", "pyroomacoustics", "scipy.signal", "soundfile", "tqdm"),
]


class Workers:
    """Processes that work through lists of tasks.

    Used as a context. They start with the first list and serve the next too.

    Arguments
    ---------
    jobs : int
        How many processes; 1 works in this one.

    Example
    -------
    >>> with Workers(1) as workers:
    ...     workers.run(max, [(-1, 1), (2, 0)], "", "number", quiet=True)
    [1, 2]
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        """Processes start when there is work."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what has not begun and wait for the rest."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def run(
        self,
        function: Callable,
        tasks: list[tuple],
        title: str,
        unit: str,
        sizes: list[int] | None = None,
        quiet: bool = False,
    ) -> list:
        """Call a function for every task, with a progress bar.

        Arguments
        ---------
        function : callable
            Can be pickled.
        tasks : list of tuple
            Its arguments.
        title : str
            What the progress bar says.
        unit : str
            What it counts.
        sizes : list of int, None
            How many units each task has; None means one.
        quiet : bool
            Whether to show no progress bar.

        Returns
        -------
        list
            What the function returned, in the order of the tasks.

        Raises
        ------
        UserError
            The first that a task raised, or when a process was killed.
        """
        sizes = sizes or [1] * len(tasks)
        results = [None] * len(tasks)
        hidden = quiet or not tasks
        total = sum(sizes)
        with tqdm(total=total, desc=title, unit=unit, disable=hidden) as bar:
            for index, result in self._results(function, tasks):
                results[index] = result
                bar.update(sizes[index])
        return results

    def _results(self, function, tasks):
        """Yield numbers of tasks and results, as they come."""
        if self.jobs == 1 or len(tasks) <= 1:
            for index, task in enumerate(tasks):
                yield index, function(*task)
            return
        self.pool = self.pool or _start_pool(self.jobs)
        futures = {
            self.pool.submit(function, *task): index
            for index, task in enumerate(tasks)
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed (out of memory?); run the same "
                "command again to go on, with fewer --jobs"
            ) from error


def _start_pool(jobs):
    os.environ |= dict.fromkeys(SINGLE_THREADED, "1")
    # A server that is forked before any thread starts: safe, and each worker
    # is there in milliseconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(SLOW_IMPORTS)
    return ProcessPoolExecutor(jobs, context, initializer=_start_worker)


def _start_worker():
    """Leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    # Without this, the workers of a killed run would go on writing beside
    # those of the run that is started again.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
