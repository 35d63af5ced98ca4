"""Processes that score estimates, while the next mixtures are separated.

Estimates go through files, so that whoever separates never waits for a slow
metric; mixtures and sources are read anew where they are needed.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from dataset import Example
from example_audio import at_mixture_level
from prepare_polsess import UserError

from evaluation.metrics import compute_metric

# What a process's libraries read when they are loaded. One thread each: the
# processes already use all cores.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "SB_LOG_LEVEL": "ERROR",  # SpeechBrain's warnings were given once
}
# What takes long to import; the processes inherit it from the fork server.
SLOW_IMPORTS = [
    *("speechbrain.dataio.batch", "speechbrain.dataio.dataio", "torchaudio"),
    *("pandas", "fast_bss_eval", "pystoi", "pesq"),
]
# What a process scores with; set when it starts.
_DATASET: Any = None
_SAMPLE_RATE = 0


class ScoringProcesses:
    """Scores estimates in processes of their own.

    Arguments
    ---------
    dataset : torch.utils.data.Dataset
        Example -> ``mixture`` and ``targets``, at the sample rate.
    sample_rate : int
        In Hz.
    jobs : int
        How many processes.
    folder : Path
        Where estimates wait, as .npy files in FP32. They take half of the
        disk's free space at most; ``submit`` waits if there are more.
    """

    def __init__(
        self,
        dataset: torch.utils.data.Dataset,
        sample_rate: int,
        jobs: int,
        folder: Path,
    ) -> None:
        self.start = (dataset, sample_rate)
        self.jobs = jobs
        self.folder = folder
        self.waiting: dict = {}  # future -> bytes of its file
        self.waiting_bytes = 0
        self.done: queue.SimpleQueue = queue.SimpleQueue()

    def __enter__(self) -> Self:
        """Prepare the folder; processes start with the first estimates."""
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot be made ({error.strerror}); estimates "
                "wait there for being scored, so remove what is in the way"
            ) from error
        self.limit = shutil.disk_usage(self.folder).free // 2
        self.environment = {name: os.environ.get(name) for name in ENVIRONMENT}
        os.environ.update(ENVIRONMENT)
        # A server that is forked before any thread starts and before a GPU is
        # used: safe, and each process is there in milliseconds.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(SLOW_IMPORTS)
        resource_tracker.ensure_running()  # for it would end the waiting
        with _ctrl_c_waits():
            forkserver.ensure_running()
        self.pool = ProcessPoolExecutor(
            self.jobs,
            context,
            initializer=_start_process,
            initargs=self.start,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what has not begun, and the files."""
        self.pool.shutdown(cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, value in self.environment.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value

    def submit(
        self,
        number: int,
        example: Example,
        estimates: torch.Tensor,
        metrics: list[str],
    ) -> Iterator[dict]:
        """Hand over the estimates of a mixture.

        Arguments
        ---------
        number : int
            Names the file.
        example : Example
            Row and variant.
        estimates : torch.Tensor
            In the order of the sources, of shape [time, n_sources].
        metrics : list of str
            What to compute.

        Yields
        ------
        dict
            Scores that were finished meanwhile; see ``score_example``.

        Raises
        ------
        UserError
            If a file cannot be written or read, or a process was killed.
        """
        while self.waiting_bytes > self.limit:
            yield from self._take(self.done.get())
        path = self.folder / f"{number}.npy"
        try:
            np.save(path, estimates.T.float().cpu().numpy())
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error})") from error
        size = path.stat().st_size
        try:
            # A process that was just being started would be left alone.
            with _ctrl_c_waits():
                future = self.pool.submit(score_example, example, path, metrics)
        except BrokenProcessPool as error:
            raise self._broken() from error
        self.waiting[future] = size
        self.waiting_bytes += size
        future.add_done_callback(self.done.put)
        while not self.done.empty():
            yield from self._take(self.done.get())

    def finish(self) -> Iterator[dict]:
        """Yield the scores that are left; see ``submit``."""
        while self.waiting:
            yield from self._take(self.done.get())

    def _take(self, future):
        self.waiting_bytes -= self.waiting.pop(future)
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise self._broken() from error

    def _broken(self):
        return UserError(
            "a scoring process was killed (out of memory?); the same command "
            "goes on where this one was, with fewer --jobs if they need too "
            "much memory"
        )


@contextlib.contextmanager
def _ctrl_c_waits():
    """Hold Ctrl-C back; what is started meanwhile never gets it."""
    came = []
    # The mask alone would not do: another thread may get the signal.
    handler = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _start_process(dataset, sample_rate):
    """Prepare a scoring process."""
    global _DATASET, _SAMPLE_RATE
    _DATASET, _SAMPLE_RATE = dataset, sample_rate
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    # Without this, the processes of a killed evaluation would wait for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def score_example(
    example: Example, path: Path, metrics: list[str]
) -> list[dict]:
    """Score the estimates of a mixture, in a scoring process.

    Arguments
    ---------
    example : Example
        Row and variant.
    path : Path
        File of the estimates [n_sources, time]; deleted afterwards.
    metrics : list of str
        What to compute.

    Returns
    -------
    list of dict
        One a metric: ``ID``, ``variant``, ``metric``, ``scores`` and
        ``mixture`` (a list over the sources each), ``reason`` and ``seconds``
        (CPU time).
    """
    item = _DATASET[example]
    mixture, sources = item["mixture"], item["targets"]
    estimates = torch.from_numpy(np.load(path)).T
    if estimates.isfinite().all():
        # SI-SDR leaves the level open, but DNSMOS and PESQ hear it.
        estimates = at_mixture_level(estimates, mixture)
    rows = []
    for metric in metrics:
        start = time.process_time()
        scores, unprocessed, reason = compute_metric(
            metric,
            estimates.T.numpy(),
            sources.T.numpy(),
            mixture.numpy(),
            _SAMPLE_RATE,
        )
        rows.append(
            {
                "ID": item["id"],
                "variant": example.variant,
                "metric": metric,
                "scores": scores,
                "mixture": unprocessed,
                "reason": reason,
                "seconds": time.process_time() - start,
            }
        )
    path.unlink()
    return rows
