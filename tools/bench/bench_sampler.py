#!/usr/bin/env python3
"""Samplers of the search, compared together with early termination.

> python tools/bench/bench_sampler.py

A stand-in for a validation SI-SDR over the published space, read with 0.05 dB
of noise, is searched, with Orion's wrappers and space, by Orion's random search
and by ours. A test checks that a hunt on a database suggests the same. A
trial's curve rises to the stand-in's value: at the same speed for all
("alike"), or the slower the slower its rate decays ("crossing"). Trials are
ended by stage 1's rule.

The regret is how far the finished trial with the best observed value lies,
without noise, below the optimum. The table gives its median over the seeds, by
the epochs that were trained.
"""

import math
import multiprocessing
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from polsess.commands import make_parser
from polsess.run_folder import FINISHED
from polsess.search.sweep import SWEEPS, read_sweep_file
from polsess.search.trial import STOPPED, results_of
from tqdm import tqdm

# Orion imports pkg_resources, which warns that it is deprecated.
warnings.simplefilter("ignore")

NOISE = 0.05  # dB
STAGE = read_sweep_file(SWEEPS / "dprnn_stage1_hpopt.yaml")
RULE: Any = STAGE.termination
EPOCHS = STAGE.settings["number_of_epochs"]
CURVES = ("alike", "crossing")
BUDGETS = (500, 1000)  # epochs
SPACE = {name: prior.text for name, prior in STAGE.space.items()}


def unit(params: dict) -> tuple[float, float, float, float]:
    """Scale a trial's axes to 0..1; the last is how slowly the rate decays."""
    lr = math.log10(params["lr"] / 3e-4)
    decay = math.log10(params["weight_decay"] / 1e-6) / 2
    clip = (params["max_grad_norm"] - 0.5) / 19.5
    factor = (params["lr_factor"] - 0.3) / 0.65
    slowness = (factor + (params["lr_patience"] - 1) / 4) / 2
    return lr, decay, clip, slowness


def plateau(params: dict) -> float:
    """Compute dB below the optimum: a plateau with a basin."""
    lr, decay, clip, slowness = unit(params)
    start = lr - 0.6 + 0.3 * (slowness - 0.5)
    distance = (
        14 * start**2
        + 6 * (decay - 0.3) ** 2
        + (clip - 0.25) ** 2
        + 5 * (slowness - 0.5) ** 2
    )
    return 1.2 * (1 - math.exp(-distance))


def learn(curves: str, params: dict, noise: np.random.Generator) -> np.ndarray:
    """Compute a trial's best objective after each epoch, in dB."""
    speed = unit(params)[3] if curves == "crossing" else 0.5
    rest = 6 * np.exp(-np.arange(1, EPOCHS + 1) / (3 * 8**speed))
    values = (
        plateau(params) + rest - rest[-1] + NOISE * noise.normal(size=EPOCHS)
    )
    return np.minimum.accumulate(values)


def make_search(name: str, seed: int) -> tuple[Callable, Callable]:
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


# Column -> algorithm, whether the rule ends trials, whether it is told curves
METHODS = {
    "random": ("random", True, False),
    "optunatpe": ("optunatpe", True, True),
    "optunagp": ("optunagp", True, True),
    "optunagp, no curves": ("optunagp", True, False),
    "optunagp, none stopped": ("optunagp", False, True),
}


def search(curves: str, method: str, seed: int) -> list[float]:
    """Search once; return the regret of the best finished trial by BUDGETS."""
    name, with_rule, with_curves = METHODS[method]
    ask, tell = make_search(name, seed)
    # The same noise for all methods
    noise = np.random.default_rng(seed).spawn(1)[0]
    others: list[list[float]] = []
    best = (math.inf, math.inf)
    trace = [(0, math.inf)]  # epochs and regret
    while trace[-1][0] <= BUDGETS[-1]:
        trial = ask()
        curve = learn(curves, trial.params, noise)
        stopped = False
        for epoch in range(1, EPOCHS if with_rule else 1):
            if RULE.reason_to_stop(list(-curve[:epoch]), others):
                stopped, curve = True, curve[:epoch]
                break
        others.append(list(-curve))
        if not stopped:
            best = min(best, (curve[-1], plateau(trial.params)))
        outcome = {"objective": curve[-1], "epochs": len(curve)}
        outcome |= {"ended": STOPPED if stopped else FINISHED}
        outcome |= {"curve": list(curve)} if with_curves else {}
        tell(trial, outcome)
        trace.append((trace[-1][0] + len(curve), best[1]))
    return [
        [regret for epochs, regret in trace if epochs <= budget][-1]
        for budget in BUDGETS
    ]


def main() -> None:
    """Search with all methods and seeds; print the median regrets."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--searches", type=int, default=20, help="number of seeds (default: 20)"
    )
    seeds = range(parser.parse_args().searches)
    # A process for each core: their numerical libraries need no more threads.
    os.environ["OMP_NUM_THREADS"] = "1"
    jobs = list(product(CURVES, METHODS, seeds))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context) as processes:
        found = processes.map(search, *zip(*jobs, strict=True))
        regrets = list(tqdm(found, total=len(jobs), disable=None))
    table = pd.DataFrame(jobs, columns=["curves", "method", "seed"])
    table[[*BUDGETS]] = regrets
    medians = table.groupby(["curves", "method"], sort=False)[[*BUDGETS]]
    print(medians.median().stack().unstack("method")[[*METHODS]].round(3))


if __name__ == "__main__":
    main()
