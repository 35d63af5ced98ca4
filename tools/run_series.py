#!/usr/bin/env python3
r"""Train a series: several settings, each with several seeds.

> python tools/run_series.py tools/series/baselines.yaml \
    --data_folder /corpora/PolSESS_C_16k --devices cuda:0 cuda:1
> python tools/run_series.py recipes/PolSESS/hparams/dprnn.yaml \
    --seeds 42 123 --data_folder /corpora/PolSESS_C_16k --lr 0.001

The file is a series, as in tools/series/, or the YAML file of a
model. Options that are not listed below go to train.py for every run, and
replace those that the series gives. A run's results and its output,
terminal.log, go to OUTPUT/NAME/SEED.

The same command again skips what is finished, early-stopped or diverged
(unless more epochs or more patience are asked for) and resumes the rest. At the
end two tables are printed and written to OUTPUT/SERIES.md: a row a run,
which SERIES.csv has too, and a row a name with mean and sample standard
deviation. The exit status is 1 if a run failed, 130 after Ctrl-C.
"""

import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from experiments.processes import interrupted_by_signals, last_words
from experiments.runs import DIVERGED, NOT_STARTED, UNREADABLE, Run, read_run
from experiments.series import (
    Job,
    check_seeds,
    differences,
    is_done,
    read_series,
    read_train_options,
)
from experiments.tables import csv_table, published_table, runs_table
from parsers import make_parser
from polsess.errors import UserError
from polsess.files import write_atomically


class Runner:
    """Trains jobs, at any time one on each device, and tells what happens.

    Arguments
    ---------
    jobs : list of Job
        In the order in which they are started.
    devices : list
        A name each; None for the one that train.py chooses.
    """

    def __init__(self, jobs: list[Job], devices: list) -> None:
        self.devices = devices
        self.waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            self.waiting.put(job)
        self.lock = threading.Lock()
        self.processes: list = []
        self.stopping = False
        self.failed = False

    def run(self) -> None:
        """Train all jobs.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, SIGTERM or SIGHUP, when the processes have been
            ended.
        """
        # Interrupted, Thread.join would take its thread for ended.
        with (
            interrupted_by_signals(),
            ThreadPoolExecutor(len(self.devices)) as pool,
        ):
            self._wait([pool.submit(self._work, d) for d in self.devices])

    def _wait(self, workers):
        """Wait for the workers; interrupted, end their processes."""
        try:
            for worker in workers:
                worker.result()
        except KeyboardInterrupt:
            with self.lock:
                self.stopping = True
                for process in self.processes:
                    process.terminate()
            raise

    def _work(self, device):
        """Train what is waiting, one after the other."""
        while not self.stopping:
            try:
                job = self.waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._train(job, device)
            except (UserError, OSError) as error:
                self._fail(job, f"Error: {error}")

    def _train(self, job, device):
        """Train a job, unless it is done."""
        run = read_run(job.folder, job.name, job.seed)
        if is_done(run, job.options):
            note = differences(run, job.options)
            note = f" (it has {note})" if note else ""
            _tell(job, f"skipped, {run.ended}{note}")
            return
        job.folder.mkdir(parents=True, exist_ok=True)
        log = job.folder / "terminal.log"
        with log.open("ab") as file:
            start = file.tell()
            with self.lock:
                if self.stopping:
                    return
                process = subprocess.Popen(
                    job.command(device),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches the series alone, which ends them all.
                    start_new_session=True,
                )
                self.processes.append(process)
        verb = "started" if run.ended == NOT_STARTED else "resumed"
        _tell(job, f"{verb}{f' on {device}' if device else ''}, see {log}")
        status = process.wait()
        run = read_run(job.folder, job.name, job.seed)
        if status and self.stopping:
            _tell(job, "stopped; the same command goes on")
        elif status and run.ended != DIVERGED:
            self._fail(job, last_words(log, start, status))
        elif status:
            _tell(job, f"{run.ended}; {last_words(log, start, status)}")
        else:
            _tell(job, _figures(run))

    def _fail(self, job, error):
        """Tell that a job failed; the others go on."""
        self.failed = True
        _tell(job, f"failed; {error}")


def _tell(job, news):
    """Print a line about a job, in one piece."""
    print(f"{job.name}, seed {job.seed}: {news}\n", end="", flush=True)


def _figures(run):
    """Say what a run has come to."""
    if run.best is None:
        return run.ended
    return (
        f"{run.ended}, {run.best:.2f} dB in epoch {run.best_epoch} of "
        f"{run.epochs_run}, {run.hours:.1f} hours"
    )


def read_runs(jobs: list[Job]) -> list[Run]:
    """Read what all runs have come to; tell of damaged files.

    Arguments
    ---------
    jobs : list of Job
        The series.

    Returns
    -------
    list of Run
        UNREADABLE stands for one that a file is damaged of.
    """
    runs = []
    for job in jobs:
        try:
            runs.append(read_run(job.folder, job.name, job.seed))
        except UserError as error:
            print(f"Error: {error}", file=sys.stderr)
            runs.append(Run(job.name, job.seed, UNREADABLE))
    return runs


def _parse(arguments):
    """Read the command line: own options, and train.py's."""
    parser = make_parser(
        __doc__,
        usage="%(prog)s SERIES [options] [--name value ... for train.py]",
    )
    parser.add_argument(
        "series", type=Path, metavar="SERIES", help="YAML file, before options"
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        metavar="SEED",
        help="of each run (default: those of the series)",
    )
    parser.add_argument(
        "--devices",
        nargs="+",
        default=[None],
        metavar="DEVICE",
        help="a run at a time on each, e.g. cuda:0 cuda:1 (default: one after "
        "the other on the device that train.py chooses)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="where the results go (default: %(default)s)",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="only print the tables of what is there",
    )
    return parser.parse_known_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Train a series as the command line says.

    Arguments
    ---------
    arguments : list of str, None
        Of the command line; None for those of the process.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    UserError
        If the series or an option is not right.
    """
    options, texts = _parse(arguments)
    for_all = read_train_options(texts)
    seeds, entries = read_series(options.series)
    if options.seeds:
        seeds = check_seeds(options.seeds, "--seeds")
    if not seeds:
        raise UserError(f"{options.series}: no seeds; give e.g. --seeds 42")
    jobs = [
        Job(
            name,
            seed,
            hparams,
            options.output / name / str(seed),
            own | for_all,
        )
        for name, hparams, own in entries
        for seed in seeds
    ]
    status = 0
    if not options.table:
        runner = Runner(jobs, options.devices)
        try:
            runner.run()
            status = int(runner.failed)
        except KeyboardInterrupt:
            status = 130
    runs = read_runs(jobs)
    tables = f"{runs_table(runs)}\n\n{published_table(runs)}\n"
    print(f"\n{tables}", end="")
    if not options.table:
        name = options.series.stem
        write_atomically(options.output / f"{name}.md", tables)
        write_atomically(options.output / f"{name}.csv", csv_table(runs))
    return status or int(any(run.ended == UNREADABLE for run in runs))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
