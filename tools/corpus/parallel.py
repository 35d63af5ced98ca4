"""Independent tasks on several processes, with a progress bar."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from polsess.worker_pool import WorkerPool
from tqdm import tqdm

SLOW_IMPORTS = [
    *("pandas", "pyroomacoustics", "scipy.signal", "soundfile", "tqdm"),
]


def open_pool(jobs: int) -> AbstractContextManager:
    """Open a pool of processes; a single job needs none."""
    return WorkerPool(jobs, SLOW_IMPORTS) if jobs > 1 else nullcontext()


def run_tasks(
    pool: WorkerPool | None,
    function: Callable,
    tasks: list[tuple],
    title: str,
    unit: str,
    sizes: list[int] | None = None,
) -> list:
    """Call a function for every task, with a progress bar.

    Arguments
    ---------
    pool : WorkerPool, None
        None works in this process.
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

    Returns
    -------
    list
        What the function returned, in the order of the tasks.

    Raises
    ------
    UserError
        The first that a task raised.

    Example
    -------
    >>> run_tasks(None, max, [(-1, 1), (2, 0)], "largest", "pair")
    [1, 2]
    """
    sizes = sizes or [1] * len(tasks)
    results: list = [None] * len(tasks)
    if pool is None or len(tasks) <= 1:
        found = ((i, function(*task)) for i, task in enumerate(tasks))
    else:
        futures = {pool.submit(function, *t): i for i, t in enumerate(tasks)}
        found = ((futures[f], f.result()) for f in pool.finished())
    hidden = None if tasks else True  # None hides it in a log
    with tqdm(total=sum(sizes), desc=title, unit=unit, disable=hidden) as bar:
        for index, result in found:
            results[index] = result
            bar.update(sizes[index])
    return results
