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

The second table is of samplers together with early termination, by the epochs
that were trained. A trial's curve rises to its stand-in's value: at the same
speed for all ("alike"), or the slower the slower its rate decays ("crossing").
Trials are ended by stage 1's rule, or by Optuna's own Hyperband. The regret is
that of the best finished trial.
"""

import math
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import optuna
from measuring import print_table
from optuna.distributions import FloatDistribution, IntDistribution
from polsess.commands import make_parser
from polsess.run_folder import FINISHED
from polsess.search.sweep import SWEEPS, read_sweep_file
from polsess.search.trial import STOPPED, results_of
from tqdm import tqdm

# Orion imports pkg_resources, which warns that it is deprecated.
warnings.simplefilter("ignore")

NOISE = 0.05
WORKERS = (1, 4)

STAGE = read_sweep_file(SWEEPS / "dprnn_stage1_hpopt.yaml")
RULE: Any = STAGE.termination
EPOCHS = STAGE.settings["number_of_epochs"]
# Epochs; without curves a trial takes one
BUDGETS = {"none": (60,), "alike": (500, 1000), "crossing": (500, 1000)}
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


def learn(
    function: str, curves: str, params: dict, noise: np.random.Generator
) -> np.ndarray:
    """Compute a trial's best objective after each epoch, in dB."""
    regret = FUNCTIONS[function](params)
    if curves == "none":
        return np.array([regret + NOISE * noise.normal()])
    speed = unit(params)[3] if curves == "crossing" else 0.5
    rest = 6 * np.exp(-np.arange(1, EPOCHS + 1) / (3 * 8**speed))
    values = regret + rest - rest[-1] + NOISE * noise.normal(size=EPOCHS)
    return np.minimum.accumulate(values)


def optuna_search(sampler: str, seed: int) -> tuple[Callable, Callable]:
    """Make a sampler of Optuna's, as its own ask and tell."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = {"multivariate": True} if sampler == "TPESampler" else {}
    made = getattr(optuna.samplers, sampler)(seed=seed, **options)
    pruner = optuna.pruners.HyperbandPruner(RULE.min_iter, EPOCHS, RULE.eta)
    study = optuna.create_study(sampler=made, pruner=pruner)

    def tell(trial, outcome):
        if outcome["ended"] == STOPPED:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, outcome["objective"])

    return lambda: study.ask(DISTRIBUTIONS), tell


def orion_search(name: str, seed: int) -> tuple[Callable, Callable]:
    """Make an algorithm as in a hunt, but without a database."""
    from orion.algo.base import algo_factory
    from orion.core.io.space_builder import SpaceBuilder
    from orion.core.worker.primary_algo import create_algo
    from orion.core.worker.trial import Trial

    space = SpaceBuilder().build(SPACE)
    algorithm = create_algo(algo_factory.get_class(name), space, seed=seed)

    def tell(trial, outcome):
        trial.status = "completed"
        trial.results = [Trial.Result(**r) for r in results_of(outcome)]
        algorithm.observe([trial])

    return lambda: algorithm.suggest(1)[0], tell


# Column -> search, who ends trials, whether the sampler is told their curves
PLAIN = {
    "random": (orion_search, "random", "rule", False),
    "Orion's tpe": (orion_search, "tpe", "rule", False),
    "Optuna's TPE": (optuna_search, "TPESampler", "Optuna", False),
    "optunatpe": (orion_search, "optunatpe", "rule", True),
    "Optuna's GP": (optuna_search, "GPSampler", "Optuna", False),
    "optunagp": (orion_search, "optunagp", "rule", True),
}
FURTHER = {
    "optunagp, no curves": (orion_search, "optunagp", "rule", False),
    "optunagp, none stopped": (orion_search, "optunagp", "nobody", True),
}
# Columns of the second table
STOPPING = ("random", "Optuna's TPE", "optunatpe", "optunagp", *FURTHER)


def search(
    function: str, curves: str, workers: int, method: str, seed: int
) -> list[float]:
    """Search once; return the regret of the best finished trial by BUDGETS."""
    make, name, who, with_curves = (PLAIN | FURTHER)[method]
    ask, tell = make(name, seed)
    # The same noise and order for all methods.
    noise, order = np.random.default_rng(seed).spawn(2)
    running = [ask() for _ in range(workers)]
    others: list[list[float]] = []
    best = (math.inf, math.inf)
    trace = [(0, math.inf)]  # epochs and regret
    while trace[-1][0] <= BUDGETS[curves][-1]:
        trial = running.pop(order.integers(len(running)))
        curve = learn(function, curves, trial.params, noise)
        stopped = False
        for epoch in range(1, len(curve)):
            if who == "Optuna":
                trial.report(curve[epoch - 1], epoch)
                stopped = trial.should_prune()
            elif who == "rule":
                rule = RULE.reason_to_stop(list(-curve[:epoch]), others)
                stopped = rule is not None
            if stopped:
                curve = curve[:epoch]
                break
        others.append(list(-curve))
        if not stopped:
            best = min(best, (curve[-1], FUNCTIONS[function](trial.params)))
        outcome = {"objective": curve[-1], "epochs": len(curve)}
        outcome |= {"ended": STOPPED if stopped else FINISHED}
        outcome |= {"curve": list(curve)} if with_curves else {}
        tell(trial, outcome)
        trace.append((trace[-1][0] + len(curve), best[1]))
        running.append(ask())
    return [
        [regret for epochs, regret in trace if epochs <= budget][-1]
        for budget in BUDGETS[curves]
    ]


def print_medians(
    cases: list[tuple], methods: Iterable[str], seeds: range
) -> None:
    """Search with all methods and seeds; print the median regrets."""
    jobs = [(*c, m, s) for c, m, s in product(cases, methods, seeds)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as processes:
        found = processes.map(search, *zip(*jobs, strict=True))
        found = tqdm(found, total=len(jobs), disable=None)
        regrets = dict(zip(jobs, found, strict=True))
    rows = []
    for case in cases:
        for place, budget in enumerate(BUDGETS[case[1]]):
            heads = ("function", "curves", "workers", "epochs")
            row = dict(zip(heads, (*case, budget), strict=True))
            for method in methods:
                values = [regrets[(*case, method, seed)] for seed in seeds]
                row[method] = median(value[place] for value in values)
            rows.append(row)
    print_table(rows)


def main() -> None:
    """Run all searches and print the tables."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--searches", type=int, default=20, help="number of seeds (default: 20)"
    )
    text = "only the second table"
    parser.add_argument("--stopping", action="store_true", help=text)
    options = parser.parse_args()
    seeds = range(options.searches)
    # A process for each core: their numerical libraries need no more threads.
    os.environ["OMP_NUM_THREADS"] = "1"
    if not options.stopping:
        cases = product(FUNCTIONS, ["none"], WORKERS)
        print_medians(list(cases), PLAIN, seeds)
    cases = product(["plateau"], ["alike", "crossing"], [1])
    print_medians(list(cases), STOPPING, seeds)


if __name__ == "__main__":
    main()
