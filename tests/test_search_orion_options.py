"""Orion's own part of a sweep's file, compared with Orion itself."""

import inspect

import orion.core
import pytest
from orion.algo.base import algo_factory
from orion.executor.base import executor_factory
from polsess.errors import UserError
from polsess.search.sweep import (
    EXPERIMENT_KEYS,
    OPTIONS,
    WORKER_KEYS,
    check_worker,
    read_experiment,
)

EXPERIMENT = {"name": "a", "max_trials": 30, "max_broken": 3}
WORKER = {
    "max_broken": 3,
    "idle_timeout": 60,
    "executor_configuration": {"backend": "threading"},
}


@pytest.mark.parametrize("algorithm", OPTIONS)
def test_options_are_those_that_orions_algorithms_take(algorithm):
    taken = inspect.signature(algo_factory.get_class(algorithm)).parameters
    assert set(OPTIONS[algorithm]) == set(taken) - {"space"}


def test_keys_are_orions_own():
    known = orion.core.config.to_dict()
    assert set(EXPERIMENT_KEYS) - {"name"} <= set(known["experiment"])
    assert set(WORKER_KEYS) <= set(known["worker"])


def test_orions_executor_takes_its_configuration():
    check_worker(WORKER, "a.yaml")
    name = orion.core.config.to_dict()["worker"]["executor"]
    options = WORKER["executor_configuration"]
    with executor_factory.create(name, n_workers=1, **options) as executor:
        future = executor.submit(sum, [1, 2])
        assert executor.wait([future]) == [3]


@pytest.mark.parametrize(
    ("algorithm", "name", "options"),
    [
        ("random", "random", {}),
        ({"optunagp": {"seed": 42}}, "optunagp", {"seed": 42}),
        # Orion does not mind capitals.
        ({"OptunaTPE": {"seed": 1}}, "OptunaTPE", {"seed": 1}),
        # What another of its algorithms takes, Orion knows itself.
        ({"asha": {"num_rungs": 3}}, "asha", {"num_rungs": 3}),
    ],
)
def test_an_algorithm_with_and_without_options(algorithm, name, options):
    read = read_experiment(EXPERIMENT | {"algorithm": algorithm}, "a.yaml")
    assert (read["algorithm"], read["algorithm_options"]) == (name, options)
    assert (read["max_trials"], read["max_broken"]) == (30, 3)


@pytest.mark.parametrize("key", EXPERIMENT)
def test_what_an_experiment_lacks_is_named(key):
    content = EXPERIMENT | {"algorithm": "random"}
    del content[key]
    with pytest.raises(UserError, match=f"a.yaml: experiment: {key} is miss"):
        read_experiment(content, "a.yaml")


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("max_broken", 0, "max_broken 0: give a whole number from 1"),
        ("idle_timeout", "60", "idle_timeout '60': give a whole number"),
        (
            *("executor_configuration", {"backend": "joblib"}),
            "executor_configuration: give .*threading.*Ctrl-C",
        ),
    ],
)
def test_what_a_worker_cannot_be_told_is_named(key, value, named):
    with pytest.raises(UserError, match=f"a.yaml: worker: {named}"):
        check_worker(WORKER | {key: value}, "a.yaml")
