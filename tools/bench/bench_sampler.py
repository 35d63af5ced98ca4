#!/usr/bin/env python3
"""Samplers of the hyperparameter search, compared with others.

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

import math
import multiprocessing
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from statistics import median

import numpy as np
import optuna
from measuring import print_table
from optuna.distributions import FloatDistribution, IntDistribution
from polsess.commands import make_parser
from polsess.search.sweep import SWEEPS, read_sweep_file
from tqdm import tqdm

# Orion imports pkg_resources, which warns that it is deprecated.
warnings.simplefilter("ignore")

TRIALS = 60
NOISE = 0.05
WORKERS = (1, 4)

STAGE = read_sweep_file(SWEEPS / "dprnn_stage1_hpopt.yaml")
SPACE = {name: prior.text for name, prior in STAGE.space.items()}
DISTRIBUTIONS = {
    "lr": FloatDistribution(3e-4, 3e-3, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-4, log=True),
    "max_grad_norm": FloatDistribution(0.5, 20),
    "lr_factor": FloatDistribution(0.3, 0.95),
    "lr_patience": IntDistribution(1, 5),
}


def unit(params: dict) -> tuple[float, float, float, float]:
    """Scale a trial's axes to 0..1; the last is how slowly the rate decays."""
    lr = math.log10(params["lr"] / 3e-4)
    decay = math.log10(params["weight_decay"] / 1e-6) / 2
    clip = (params["max_grad_norm"] - 0.5) / 19.5
    factor = (params["lr_factor"] - 0.3) / 0.65
    slowness = (factor + (params["lr_patience"] - 1) / 4) / 2
    return lr, decay, clip, slowness


def bowl(params: dict) -> float:
    """Compute dB below the optimum: smooth; a slowly decaying rate is lower."""
    lr, decay, clip, slowness = unit(params)
    start = lr - 0.65 + 0.4 * (slowness - 0.55)
    return (
        3 * start**2
        + 0.6 * (decay - 0.4) ** 2
        + 0.1 * (clip - 0.25) ** 2
        + (slowness - 0.55) ** 2
    )


def plateau(params: dict) -> float:
    """Compute dB below the optimum: a plateau with a basin as the bowl's."""
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
    """Compute dB below the optimum: a narrow, curved valley of weight decay."""
    lr, decay, clip, slowness = unit(params)
    across = decay - 0.2 - 0.6 * lr**2
    return (
        0.8 * (1 - math.exp(-((across / 0.12) ** 2)))
        + (lr - 0.6) ** 2
        + 0.05 * (clip - 0.25) ** 2
        + 0.4 * (slowness - 0.5) ** 2
    )


FUNCTIONS = {"bowl": bowl, "plateau": plateau, "valley": valley}


def optuna_search(sampler: str, seed: int) -> tuple[Callable, Callable]:
    """Make a sampler of Optuna's, as its own ask and tell."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = {"multivariate": True} if sampler == "TPESampler" else {}
    made = getattr(optuna.samplers, sampler)(seed=seed, **options)
    study = optuna.create_study(sampler=made)
    return lambda: study.ask(DISTRIBUTIONS), study.tell


def orion_search(name: str, seed: int) -> tuple[Callable, Callable]:
    """Make an algorithm as in a hunt, but without a database."""
    from orion.algo.base import algo_factory
    from orion.core.io.space_builder import SpaceBuilder
    from orion.core.worker.primary_algo import create_algo
    from orion.core.worker.trial import Trial

    space = SpaceBuilder().build(SPACE)
    algorithm = create_algo(algo_factory.get_class(name), space, seed=seed)

    def tell(trial, value):
        trial.status = "completed"
        trial.results = [Trial.Result(name="v", type="objective", value=value)]
        algorithm.observe([trial])

    return lambda: algorithm.suggest(1)[0], tell


SEARCHES = {
    "random": (orion_search, "random"),
    "Orion's tpe": (orion_search, "tpe"),
    "Optuna's TPE": (optuna_search, "TPESampler"),
    "optunatpe": (orion_search, "optunatpe"),
    "Optuna's GP": (optuna_search, "GPSampler"),
    "optunagp": (orion_search, "optunagp"),
}
RATIOS = (
    ("optunatpe", "Optuna's TPE"),
    ("optunatpe", "random"),
    ("optunagp", "Optuna's GP"),
    ("optunagp", "Optuna's TPE"),
    ("optunagp", "random"),
)


def search(function: str, workers: int, method: str, seed: int) -> float:
    """Search once; return the regret of the best observed trial."""
    make, name = SEARCHES[method]
    ask, tell = make(name, seed)
    # The same noise and order for all methods.
    noise, order = np.random.default_rng(seed).spawn(2)
    running: list = []
    results = []
    for started in range(TRIALS + workers):
        if started >= workers:
            trial = running.pop(order.integers(len(running)))
            regret = FUNCTIONS[function](trial.params)
            observed = regret + NOISE * noise.normal()
            tell(trial, observed)
            results.append((observed, regret))
        if started < TRIALS:
            running.append(ask())
    return min(results)[1]


def main() -> None:
    """Run all searches and print the tables."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--searches", type=int, default=20, help="number of seeds (default: 20)"
    )
    seeds = range(parser.parse_args().searches)
    jobs = list(product(FUNCTIONS, WORKERS, SEARCHES, seeds))
    # A process for each core: their numerical libraries need no more threads.
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as processes:
        found = processes.map(search, *zip(*jobs, strict=True))
        found = tqdm(found, total=len(jobs), disable=None)
        regrets = dict(zip(jobs, found, strict=True))
    medians, ratios = [], []
    for function, workers in product(FUNCTIONS, WORKERS):
        values = {
            method: median(
                regrets[function, workers, method, seed] for seed in seeds
            )
            for method in SEARCHES
        }
        row = {"function": function, "workers": workers}
        medians.append(row | values)
        ratios.append(
            row | {f"{a} / {b}": values[a] / values[b] for a, b in RATIOS}
        )
    print_table(medians)
    print_table(ratios)


if __name__ == "__main__":
    main()
