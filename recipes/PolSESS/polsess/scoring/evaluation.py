"""Separating a test set once, and scoring it meanwhile."""

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
import pandas as pd
import torch
from tqdm import tqdm

from polsess.data.dataset import Example
from polsess.devices import is_out_of_memory
from polsess.errors import UserError
from polsess.files import write_atomically
from polsess.inference.models import TrainedModel
from polsess.scoring.audio import at_mixture_level, write_example
from polsess.scoring.files import LIST, LISTED, EvaluationFiles
from polsess.scoring.metrics import compute_metric
from polsess.scoring.objective import pairwise_si_sdr, pit_si_sdr
from polsess.scoring.scores import missing_reason
from polsess.scoring.test_sets import AtSampleRate, EvaluationSet
from speechbrain.dataio.batch import PaddedBatch

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


READING_PROCESSES = 2  # beside a GPU; a CPU is busy computing
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Evaluation:
    """Separates a test set and scores it.

    Arguments
    ---------
    run : TrainedModel
        Whose separator is used.
    test_set : EvaluationSet
        With its formats.
    files : EvaluationFiles
        Knows what has been scored, and gets what is.
    device : str
        Where to separate.
    precision : str
        ``fp32``, ``bf16`` or ``fp16``.
    """

    def __init__(
        self,
        run: TrainedModel,
        test_set: EvaluationSet,
        files: EvaluationFiles,
        device: str,
        precision: str,
    ) -> None:
        self.separator = run.separator.to(device)
        self.sample_rate = run.settings["sample_rate"]
        self.test_set = test_set
        self.dataset = AtSampleRate(
            test_set.dataset, test_set.formats, self.sample_rate
        )
        self.files = files
        self.device = torch.device(device)
        self.precision = precision

    @torch.inference_mode()
    def separate(self, mixture: torch.Tensor) -> torch.Tensor:
        """Estimate the sources of mixtures.

        Arguments
        ---------
        mixture : torch.Tensor
            Shape [batch, time].

        Returns
        -------
        torch.Tensor
            Shape [batch, time, n_sources], on the device.

        Raises
        ------
        UserError
            If the device has too little memory.
        """
        try:
            with torch.autocast(
                self.device.type,
                AUTOCAST.get(self.precision),
                enabled=self.precision != "fp32",
            ):
                return self.separator(mixture.to(self.device))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                f"{self.device} has too little memory for {len(mixture)} "
                f"mixtures of {mixture.shape[1]} samples at once: give a "
                "smaller --batch_size; the scores that are there are kept"
            ) from error

    def score(
        self,
        metrics: list[str],
        batch_size: int,
        jobs: int,
        quiet: bool = False,
    ) -> None:
        """Compute the scores that are not known yet.

        Arguments
        ---------
        metrics : list of str
            Names.
        batch_size : int
            Mixtures in a batch.
        jobs : int
            Processes that score.
        quiet : bool
            Whether to show no progress.
        """
        metrics = list(dict.fromkeys(["si_sdr", *metrics]))
        missing = {
            example: self.files.computed.missing(
                self.test_set.key(example), metrics
            )
            for example in self.test_set.examples
        }
        batches = [
            batch
            for batch in self.test_set.batches(batch_size)
            if any(missing[example] for example in batch)
        ]
        total = sum(len(names) for names in missing.values())
        bar = tqdm(total=total, unit="score", disable=quiet or None)
        processes = ScoringProcesses(
            self.dataset, self.sample_rate, jobs, self.files.work
        )
        with bar, processes:
            for scores in self._score_batches(batches, missing, processes):
                self.files.computed.add(scores)
                bar.update()

    def _score_batches(self, batches, missing, processes):
        """Yield the scores of batches as they are finished."""
        number = 0
        for batch, examples in zip(self._read(batches), batches, strict=True):
            start = time.perf_counter()
            estimates = self.separate(batch.mixture.data).float()
            rows, permutation = _score_si_sdr(batch, estimates)
            estimates = estimates.cpu()
            seconds = (time.perf_counter() - start) / len(examples)
            for index, example in enumerate(examples):
                names = missing[example]
                if "si_sdr" in names:
                    yield rows[index] | {"seconds": seconds}
                others = [name for name in names if name != "si_sdr"]
                if others:
                    number += 1
                    yield from processes.submit(
                        number,
                        example,
                        estimates[index][:, permutation[index]],
                        others,
                    )
        yield from processes.finish()

    def _read(self, batches):
        """Make a loader of batches."""
        on_gpu = self.device.type != "cpu"
        return torch.utils.data.DataLoader(
            self.dataset,
            batch_sampler=batches,
            collate_fn=PaddedBatch,
            num_workers=READING_PROCESSES if on_gpu else 0,
            pin_memory=on_gpu,
        )

    def write_audio(self, count: int) -> None:
        """Write the worst and the best mixtures, separated once more.

        They wait in the evaluation's ``new_audio``.

        Each utterance counts in the first of its variants that were evaluated;
        mixtures without a value do not.

        Arguments
        ---------
        count : int
            How many of the worst and of the best.

        Raises
        ------
        UserError
            If there is nothing to write, or it cannot be written.
        """
        folder = self.files.new_audio
        table = self.files.table(self.test_set, ["si_sdr"])
        table["example"] = self.test_set.examples
        table = table.drop_duplicates("ID")
        table = table.dropna(subset="improvement")
        table = table.sort_values("improvement", kind="stable")
        half = len(table) // 2
        worst = table[: min(count, half)]
        best = table[::-1][: min(count, len(table) - half)]
        listed: list = []
        for rank, rows in (("worst", worst), ("best", best)):
            for number, row in enumerate(rows.to_dict("records"), start=1):
                name = f"{row['ID']}_{row['variant']}".replace("/", "_")
                name = _unlike(name, [other["folder"] for other in listed])
                self._write_example(folder / name, row["example"])
                listed.append(
                    {"folder": name, "rank": f"{rank}-{number}"}
                    | {column: row[column] for column in LISTED}
                )
        if not listed:
            raise UserError(
                "--save_audio: no mixture has an SI-SDR, so that none is the "
                "best or the worst"
            )
        text = pd.DataFrame(listed).to_csv(index=False)
        write_atomically(folder / LIST, text)

    def _write_example(self, folder, example):
        """Separate a mixture and write its audio."""
        item = self.dataset[example]
        estimates = self.separate(item["mixture"].unsqueeze(0)).float().cpu()
        targets = item["targets"]
        _, permutation = pit_si_sdr(estimates, targets.unsqueeze(0))
        write_example(
            folder,
            item["mixture"],
            targets,
            estimates[0][:, permutation[0]],
            self.sample_rate,
        )


def _unlike(name, others):
    """Lengthen a name until it is unlike others, in any file system."""
    others = {other.casefold() for other in others}
    while name.casefold() in others:
        name += "_"
    return name


def _score_si_sdr(batch, estimates):
    """Compute SI-SDR where the separator is: a row a mixture, permutation."""
    targets = batch.targets.data.to(estimates.device)
    mixture = batch.mixture.data.to(estimates.device).unsqueeze(-1)
    si_sdr, permutation = pit_si_sdr(estimates, targets)
    unprocessed = pairwise_si_sdr(mixture, targets)[:, 0].tolist()
    finite = estimates.isfinite().all(dim=(1, 2)).tolist()
    orders = permutation.tolist()
    rows = [
        {
            "ID": batch.id[index],
            "variant": batch.variant[index],
            "metric": "si_sdr",
            "scores": scores,
            "mixture": unprocessed[index],
            "assigned": [number + 1 for number in orders[index]],
            "reason": missing_reason(scores, finite[index]),
        }
        for index, scores in enumerate(si_sdr.tolist())
    ]
    return rows, orders
