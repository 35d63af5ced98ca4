"""Runs that are killed, in processes of their own, and their comparison.

> python tests/killed_runs.py 50

kills small runs at 50 random points and compares each, resumed, with the run
that was never interrupted.
"""

import json
import multiprocessing
import multiprocessing.forkserver
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from small_models import CLOCKS, small_arguments
from torch.utils._pytree import tree_flatten

from speechbrain.utils.checkpoints import Checkpointer

# Checkpoints within epochs, groups of which the last is incomplete, a change
# of variants, a scheduler that acts.
OPTIONS = {
    "batch_size": 1,
    "number_of_epochs": 4,
    "grad_accumulation_factor": 3,
    "ckpt_interval_steps": 2,
    "lr_patience": 0,
    "early_stopping_patience": 3,
    "curriculum": "[{epoch: 1, variants: [C], lr_scheduler: False},"
    " {epoch: 2, variants: [C, R, S, SER, SE], lr_scheduler: True}]",
}
MODEL_OPTIONS = {"sepformer": {"dropout": 0.1}, "dprnn": {"ema_decay": 0.9}}

FORKSERVER = multiprocessing.get_context("forkserver")


def start_server():
    """Start the process that runs are forked from.

    It has imported everything and computed nothing, so that nearly all of a
    run's time is training.
    """
    FORKSERVER.set_forkserver_preload(["train", "torch._dynamo"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    multiprocessing.forkserver.ensure_running()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def _train(arguments):
    """Train quietly in this process."""
    import train

    import speechbrain as sb

    # It asks pip for all versions, which takes longer than the training.
    sb.utils.logger.get_environment_description = str
    torch.set_num_threads(1)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = sys.stderr = nowhere
        train.main(arguments)


class KilledRuns:
    """A run of a model that others are compared with, and those.

    Arguments
    ---------
    model : str
        Name of the YAML file.
    corpus : Path
        A small corpus.
    folder : Path
        Where the runs go.
    **options : object
        Further options of ``train.py``.
    """

    def __init__(self, model, corpus, folder, **options):
        self.model = model
        self.folder = folder
        self.options = {
            "data_folder": corpus,
            **OPTIONS,
            **MODEL_OPTIONS.get(model, {}),
            **options,
        }
        start_server()
        assert self.run(folder / "first") == 0  # the server may be starting
        start = time.time()
        assert self.run(folder / "whole") == 0
        self.seconds = time.time() - start

    def run(self, output, kill_after=None):
        """Start or resume a run; return its exit code.

        Arguments
        ---------
        output : Path
            The run's folder.
        kill_after : float, None
            Seconds after which it is killed.

        Returns
        -------
        int
            0 for a finished run, -9 for a killed one.
        """
        arguments = small_arguments(
            self.model, output_folder=output, **self.options
        )
        process = FORKSERVER.Process(target=_train, args=(arguments,))
        process.start()
        process.join(kill_after)
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        return process.exitcode

    def kill_and_resume(self, name, generator):
        """Kill a run at a random point, resume it, compare it.

        Arguments
        ---------
        name : str
            Of its folder.
        generator : random.Random
            Draws the point.
        """
        output = self.folder / name
        delay = generator.uniform(0, self.seconds)
        while self.run(output, kill_after=delay) != -signal.SIGKILL:
            # Faster than the first: it was not killed, and does not count.
            output = self.folder / f"{output.name}-again"
            delay *= 0.7
        assert self.run(output) == 0
        assert_same_runs(self.folder / "whole", output)


def assert_same_runs(first, second):
    """Check that two runs came to the same, bit by bit.

    Arguments
    ---------
    first, second : Path
        Folders of finished runs.
    """
    for name in ("curve.csv", "test.csv"):
        tables = [pd.read_csv(f / name) for f in (first, second)]
        pd.testing.assert_frame_equal(
            *(table.drop(columns=CLOCKS, errors="ignore") for table in tables),
            check_exact=True,
        )
    results = [
        json.loads((f / "result.json").read_text()) for f in (first, second)
    ]
    for result in results:
        for clock in CLOCKS:
            result.pop(clock)
        result["settings"].pop("output_folder")
        result["settings"].pop("save_folder")
        result["settings"].pop("manifest_folder")
    assert results[0] == results[1]
    saved = [
        Checkpointer(folder / "save").find_checkpoint().paramfiles
        for folder in (first, second)
    ]
    assert saved[0].keys() == saved[1].keys()
    for name in saved[0]:
        (one, structure), (two, other) = (
            tree_flatten(_read(files[name])) for files in saved
        )
        assert structure == other, name
        for a, b in zip(one, two, strict=True):
            assert type(a) is type(b), name
            tensors = isinstance(a, torch.Tensor)
            assert torch.equal(a, b) if tensors else a == b, name


def _read(path):
    """Read a file of a checkpoint: of torch, or text."""
    content = path.read_bytes()
    if content[:2] != b"PK":
        return content
    saved = torch.load(path, weights_only=True)
    if isinstance(saved, dict):
        for clock in CLOCKS:
            saved.pop(clock, None)
    return saved


def main(count):
    """Kill that many runs, in turn of each model; print the count.

    Arguments
    ---------
    count : int
        Runs to kill.
    """
    from small_corpus import write_small_corpus
    from small_models import SMALL

    generator = random.Random()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        corpus = folder / "PolSESS_S"
        write_small_corpus(corpus, {"train": 10, "val": 4, "test": 4})
        runs = {}
        for number in range(count):
            model = list(SMALL)[number % len(SMALL)]
            if model not in runs:
                (folder / model).mkdir()
                runs[model] = KilledRuns(model, corpus, folder / model)
            runs[model].kill_and_resume(f"killed{number}", generator)
            print(f"{number + 1} of {count}: {model}, the same", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
