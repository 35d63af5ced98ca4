"""Separating a test set once, and scoring it meanwhile."""

import time

import pandas as pd
import torch
from example_audio import write_example
from loading.trained_run import TrainedRun
from memory_errors import is_out_of_memory
from objective import pairwise_si_sdr, pit_si_sdr
from prepare_polsess import UserError
from run_files import write_atomically
from scores import missing_reason
from speechbrain.dataio.batch import PaddedBatch
from tqdm import tqdm

from evaluation.files import LIST, LISTED, EvaluationFiles
from evaluation.scoring import ScoringProcesses
from evaluation.sets import AtSampleRate, EvaluationSet

READING_PROCESSES = 2  # beside a GPU; a CPU is busy computing
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Evaluation:
    """Separates a test set and scores it.

    Arguments
    ---------
    run : TrainedRun
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
        run: TrainedRun,
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
