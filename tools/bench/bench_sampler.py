#!/usr/bin/env python3
"""Compares the samplers of the hyperparameter search with others.

> python tools/bench/bench_sampler.py

Three stand-ins for a validation SI-SDR over the published space, read with
0.05 dB of noise, each searched with 60 trials from 20 seeds by Optuna's
multivariate TPE and Gaussian process (its own ask and tell) and, with Orion's
wrappers and space, by Orion's random search and tpe, and by ours. A test checks
that a hunt on a database suggests the same. With four workers, four trials are
running at any time and end in random order.

The regret is how far the trial with the best observed value lies, without
noise, below the optimum. The first table gives its median over the seeds.
"""

import argparse
import math
import os
import warnings
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from statistics import median

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from orion.algo.base import algo_factory
from orion.core.io.space_builder import SpaceBuilder
from orion.core.worker.primary_algo import create_algo
from orion.core.worker.trial import Trial

# A process for each core: their numerical libraries need no more threads.
os.environ["OMP_NUM_THREADS"] = "1"
# Orion imports pkg_resources, which says at each import that it is deprecated.
warnings.simplefilter("ignore")


TRIALS = 60
NOISE = 0.05
WORKERS = (1, 4)

# Stage 1 of the published search.
SPACE = {
    "lr": "loguniform(3e-4, 3e-3)",
    "weight_decay": "loguniform(1e-6, 1e-4)",
    "max_grad_norm": "uniform(0.5, 20)",
    "lr_factor": "uniform(0.3, 0.95)",
    "lr_patience": "uniform(1, 5, discrete=True)",
}
DISTRIBUTIONS = {
    "lr": FloatDistribution(3e-4, 3e-3, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-4, log=True),
    "max_grad_norm": FloatDistribution(0.5, 20),
    "lr_factor": FloatDistribution(0.3, 0.95),
    "lr_patience": IntDistribution(1, 5),
}


def unit(params: dict) -> tuple[float, float, float, float]:
    """A trial's place: axes from 0 to 1, and how slowly the rate decays."""
    lr = math.log10(params["lr"] / 3e-4)
    decay = math.log10(params["weight_decay"] / 1e-6) / 2
    clip = (params["max_grad_norm"] - 0.5) / 19.5
    factor = (params["lr_factor"] - 0.3) / 0.65
    slowness = (factor + (params["lr_patience"] - 1) / 4) / 2
    return lr, decay, clip, slowness


def bowl(params: dict) -> float:
    """Smooth; a slowly decaying learning rate must start lower.

    Returns
    -------
    regret : float
        Decibels below the optimum, as of the other functions.
    """
    lr, decay, clip, slowness = unit(params)
    start = lr - 0.65 + 0.4 * (slowness - 0.55)
    return (
        3 * start**2
        + 0.6 * (decay - 0.4) ** 2
        + 0.1 * (clip - 0.25) ** 2
        + (slowness - 0.55) ** 2
    )


def plateau(params: dict) -> float:
    """Most of the space is equally bad, the rest a basin as the bowl's."""
    lr, decay, clip, slowness = unit(params)
    start = lr - 0.6 + 0.3 * (slowness - 0.5)
    distance = (
        14 * start**2
        + 6 * (decay - 0.3) ** 2
        + (clip - 0.25) ** 2
        + 5 * (slowness - 0.5) ** 2
    )
    return 1.2 * (1 - math.exp(-distance))


def valley(params: dict) -> float:
    """A narrow, curved valley: the weight decay that suits a learning rate."""
    lr, decay, clip, slowness = unit(params)
    across = decay - 0.2 - 0.6 * lr**2
    return (
        0.8 * (1 - math.exp(-((across / 0.12) ** 2)))
        + (lr - 0.6) ** 2
        + 0.05 * (clip - 0.25) ** 2
        + 0.4 * (slowness - 0.5) ** 2
    )


FUNCTIONS = {"bowl": bowl, "plateau": plateau, "valley": valley}


def optuna_search(sampler: BaseSampler) -> tuple[Callable, Callable]:
    """A sampler of Optuna's, by its own ask and tell."""
    study = optuna.create_study(sampler=sampler)
    return lambda: study.ask(DISTRIBUTIONS), study.tell


def orion_search(name: str, seed: int) -> tuple[Callable, Callable]:
    """An algorithm as a hunt uses it, but without a database."""
    space = SpaceBuilder().build(SPACE)
    algorithm = create_algo(algo_factory.get_class(name), space, seed=seed)

    def tell(trial, value):
        trial.status = "completed"
        trial.results = [Trial.Result(name="v", type="objective", value=value)]
        algorithm.observe([trial])

    return lambda: algorithm.suggest(1)[0], tell


SEARCHES = {
    "random": lambda seed: orion_search("random", seed),
    "Orion's tpe": lambda seed: orion_search("tpe", seed),
    "Optuna's TPE": lambda seed: optuna_search(
        optuna.samplers.TPESampler(seed=seed, multivariate=True)
    ),
    "optunatpe": lambda seed: orion_search("optunatpe", seed),
    "Optuna's GP": lambda seed: optuna_search(
        optuna.samplers.GPSampler(seed=seed)
    ),
    "optunagp": lambda seed: orion_search("optunagp", seed),
}
RATIOS = (
    ("optunatpe", "Optuna's TPE"),
    ("optunatpe", "random"),
    ("optunagp", "Optuna's GP"),
    ("optunagp", "Optuna's TPE"),
    ("optunagp", "random"),
)


def search(job: tuple) -> float:
    """Runs one search.

    Arguments
    ---------
    job : tuple
        Names of function and search, number of workers, seed.

    Returns
    -------
    regret : float
        Of the trial with the best observed value, without noise.
    """
    name, method, workers, seed = job
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ask, tell = SEARCHES[method](seed)
    # The same noise and order for all methods.
    noise, order = np.random.default_rng(seed).spawn(2)
    running: list = []
    results = []
    for started in range(TRIALS + workers):
        if started >= workers:
            trial = running.pop(order.integers(len(running)))
            regret = FUNCTIONS[name](trial.params)
            observed = regret + NOISE * noise.normal()
            tell(trial, observed)
            results.append((observed, regret))
        if started < TRIALS:
            running.append(ask())
    return min(results)[1]


def main() -> None:
    """Runs all searches and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--searches", type=int, default=20, help="of each kind (default: 20)")
    add("--seed", type=int, default=0, help="of the first one (default: 0)")
    add(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="N",
        help="processes (default: one a CPU)",
    )
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.searches)
    jobs = list(product(FUNCTIONS, SEARCHES, WORKERS, seeds))
    with ProcessPoolExecutor(options.jobs) as processes:
        regrets = dict(zip(jobs, processes.map(search, jobs), strict=True))
    medians = {
        row: [
            median(regrets[row[0], method, row[1], seed] for seed in seeds)
            for method in SEARCHES
        ]
        for row in product(FUNCTIONS, WORKERS)
    }
    print_table(SEARCHES, medians, ".3f")
    columns = list(SEARCHES)
    ratios = {
        row: [
            values[columns.index(ours)] / values[columns.index(theirs)]
            for ours, theirs in RATIOS
        ]
        for row, values in medians.items()
    }
    print_table([" / ".join(pair) for pair in RATIOS], ratios, ".2f")


def print_table(heads: Collection[str], rows: dict, form: str) -> None:
    """Prints a Markdown table with a row for each function and workers."""
    print("\n| function | workers |", " | ".join(heads), "|")
    print("| --- " * (2 + len(heads)) + "|")
    for (name, workers), values in rows.items():
        cells = (format(value, form) for value in values)
        print(f"| {name} | {workers} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
