"""Evaluation of a run: separation of a test set, and scoring in parallel."""

import time

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from polsess.errors import UserError
from polsess.files import write_atomically
from polsess.inference.models import TrainedModel
from polsess.processes import too_little_memory
from polsess.scoring.folder import LISTED, EvaluationFolder
from polsess.scoring.metrics import compute_metric
from polsess.scoring.objective import pit_si_sdr
from polsess.scoring.scores import (
    at_mixture_level,
    score_sources,
    write_example,
)
from polsess.scoring.test_sets import EvaluationSet
from polsess.worker_pool import WorkerPool
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.autocast import AMPConfig, TorchAutocast

READING_PROCESSES = 2  # beside a GPU; a CPU is busy computing
# Mixtures that are scored together, for each scoring process: all are separated
# first, and have to fit into memory.
TOGETHER = 8


class Evaluation:
    """Separation and scoring of a test set.

    Arguments
    ---------
    run : TrainedModel
        The evaluated model.
    test_set : EvaluationSet
        With its formats.
    files : EvaluationFolder
        Holds the known scores, and receives new ones.
    device : str
        Device of the separator.
    precision : str
        ``fp32``, ``bf16`` or ``fp16``.
    """

    def __init__(
        self,
        run: TrainedModel,
        test_set: EvaluationSet,
        files: EvaluationFolder,
        device: str,
        precision: str,
    ) -> None:
        self.separator = run.separator.to(device)
        self.test_set = test_set
        self.files = files
        self.device = torch.device(device)
        self.dtype = AMPConfig.from_name(precision).dtype

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
            Shape [batch, time, n_sources], in FP32 on the device.

        Raises
        ------
        UserError
            If the device has too little memory.
        """
        shape = list(mixture.shape)
        memory = too_little_memory(
            str(self.device),
            f"for mixtures of shape {shape}: give a smaller --batch_size",
        )
        with memory, TorchAutocast(self.device.type, dtype=self.dtype):
            return self.separator(mixture.to(self.device)).float()

    def score(
        self, names: list[str], batch_size: int, pool: WorkerPool, quiet: bool
    ) -> None:
        """Compute the missing scores.

        Arguments
        ---------
        names : list of str
            Metrics.
        batch_size : int
            Mixtures in a batch.
        pool : WorkerPool
            Processes that score; ended when all is scored.
        quiet : bool
            Whether to hide the progress.
        """
        metrics = list(dict.fromkeys(["si_sdr", *names]))
        missing = {
            example: self.files.missing(self.test_set.key(example), metrics)
            for example in self.test_set.examples
        }
        total = sum(len(names) for names in missing.values())
        if not total:
            return
        with pool:
            scores = self._score(missing, batch_size, pool)
            bar = {"total": total, "unit": "score", "disable": quiet or None}
            for score in tqdm(scores, **bar):
                self.files.add(score)

    def _score(self, missing, batch_size, pool):
        """Yield the missing scores as they are finished."""
        batches = [
            batch
            for batch in self.test_set.batches(batch_size)
            if any(missing[example] for example in batch)
        ]
        tasks, scoring = [], []
        on_gpu = self.device.type != "cpu"
        loader = torch.utils.data.DataLoader(
            self.test_set,
            batch_sampler=batches,
            collate_fn=PaddedBatch,
            num_workers=READING_PROCESSES if on_gpu else 0,
            pin_memory=on_gpu,
        )
        for batch, examples in zip(loader, batches, strict=True):
            start = time.perf_counter()
            estimates = self.separate(batch.mixture.data)
            targets = batch.targets.data
            found = pit_si_sdr(estimates, targets.to(estimates.device))
            rows = score_sources(batch, estimates, *found)
            estimates, permutation = estimates.cpu(), found[1].cpu()
            seconds = (time.perf_counter() - start) / len(examples)
            for index, example in enumerate(examples):
                if "si_sdr" in missing[example]:
                    yield rows[index] | {"metric": "si_sdr", "seconds": seconds}
                if names := [n for n in missing[example] if n != "si_sdr"]:
                    task = (
                        self.test_set.key(example),
                        names,
                        estimates[index][:, permutation[index]].T.numpy(),
                        targets[index].T.numpy(),
                        batch.mixture.data[index].numpy(),
                        self.test_set.sample_rate,
                    )
                    tasks.append(task)
            last = examples is batches[-1]
            if len(tasks) >= TOGETHER * pool.jobs or last:
                scoring.append(
                    [pool.submit(score_estimates, *t) for t in tasks]
                )
                tasks = []
            # A CPU separates nothing meanwhile: its cores are all in use.
            while len(scoring) > (on_gpu and not last):
                for scored in scoring.pop(0):
                    yield from scored.result()

    def write_audio(self, count: int) -> None:
        """Write the audio of the worst and the best mixtures.

        They are separated again, into the folder's ``new_audio``. Each
        utterance counts in its first evaluated variant; mixtures without a
        value do not count.

        Arguments
        ---------
        count : int
            Number of worst mixtures, and of best ones.

        Raises
        ------
        UserError
            If there is nothing to write, or it cannot be written.
        """
        folder = self.files.new_audio
        table = self.files.table(self.test_set).query("metric == 'si_sdr'")
        table = table.assign(example=self.test_set.examples)
        table = table.drop_duplicates("ID").dropna(subset="improvement")
        table = table.sort_values("improvement", kind="stable")
        if table.empty:
            raise UserError("--save_audio: no mixture has an SI-SDR")
        half = len(table) // 2
        listed = []
        for name, rows in (
            ("worst", table[: min(count, half)]),
            ("best", table[::-1][: min(count, len(table) - half)]),
        ):
            for number, row in enumerate(rows.to_dict("records"), start=1):
                row["rank"] = f"{name}-{number}"
                parts = row["rank"], row["ID"], row["variant"]
                row["folder"] = "_".join(parts).replace("/", "_")
                self._write_example(folder / row["folder"], row["example"])
                listed.append(row)
        columns = ["folder", "rank", *LISTED]
        text = pd.DataFrame(listed)[columns].to_csv(index=False)
        write_atomically(folder / self.files.examples.name, text)

    def _write_example(self, folder, example):
        """Separate a mixture and write its audio."""
        item = self.test_set[example]
        mixture, targets = item["mixture"], item["targets"]
        estimates = self.separate(mixture.unsqueeze(0)).cpu()
        _, permutation = pit_si_sdr(estimates, targets.unsqueeze(0))
        estimates = estimates[0][:, permutation[0]]
        rate = self.test_set.sample_rate
        write_example(folder, mixture, targets, estimates, rate)


def score_estimates(
    key: tuple[str, str],
    metrics: list[str],
    estimates: np.ndarray,
    sources: np.ndarray,
    mixture: np.ndarray,
    sample_rate: int,
) -> list[dict]:
    """Score the estimates of a mixture by metrics of ``METRICS``.

    Arguments
    ---------
    key : tuple of str
        ID and variant.
    metrics : list of str
        Names, without SI-SDR.
    estimates, sources, mixture, sample_rate
        As for ``compute_metric``; the estimates' level is arbitrary.

    Returns
    -------
    list of dict
        One a metric, for ``EvaluationFolder.add``; ``seconds`` of the CPU.
    """
    if np.isfinite(estimates).all():
        # SI-SDR ignores the level, but DNSMOS and PESQ do not.
        estimates = at_mixture_level(
            torch.from_numpy(estimates.T), torch.from_numpy(mixture)
        ).T.numpy()
    rows = []
    for metric in metrics:
        start = time.process_time()
        scores, unprocessed, reason = compute_metric(
            metric, estimates, sources, mixture, sample_rate
        )
        row: dict = {"ID": key[0], "variant": key[1], "metric": metric}
        row |= {"scores": scores, "mixture": unprocessed, "reason": reason}
        rows.append(row | {"seconds": time.process_time() - start})
    return rows
