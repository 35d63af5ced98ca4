"""Samplers as Orion makes them, and trials for them."""

import pytest
from orion.algo.base import algo_factory
from orion.core.io.space_builder import SpaceBuilder
from orion.core.worker.primary_algo import create_algo
from orion.core.worker.trial import Trial

SPACE = {
    "lr": "loguniform(3e-4, 3e-3)",
    "clip": "uniform(0.5, 20)",
    "factor": "uniform(0.3, 0.95)",
    "patience": "uniform(1, 5, discrete=True)",
    "width": "loguniform(1, 64, discrete=True)",
}
ALGORITHMS = ("optunatpe", "optunagp")
BOTH = pytest.mark.parametrize("name", ALGORITHMS)


def make(space, name="optunatpe", **options):
    """An algorithm as Orion makes it, with its wrappers."""
    space = SpaceBuilder().build(space)
    return create_algo(algo_factory.get_class(name), space, **options)


def completed(trial, value, **statistics):
    """A trial with its results."""
    trial.status = "completed"
    trial.results = [
        Trial.Result(name="objective", type="objective", value=value),
        *(
            Trial.Result(name=name, type="statistic", value=number)
            for name, number in statistics.items()
        ),
    ]
    return trial


def run(algorithm, trials, function):
    """Suggest and observe; returns the trials' parameters."""
    params = []
    for _ in range(trials):
        [trial] = algorithm.suggest(1)
        algorithm.observe([completed(trial, function(trial.params))])
        params.append(trial.params)
    return params
