"""Orion's search space in Optuna's terms, and its values there and back."""

from decimal import Decimal

import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from orion.algo.base import algo_factory
from orion.core.io.space_builder import SpaceBuilder
from orion.core.worker.primary_algo import create_algo
from orion_optuna.distributions import make_distributions, to_optuna, to_orion


def dimension_of(prior):
    """A dimension as an algorithm gets it, and its distribution."""
    space = SpaceBuilder().build({"x": prior})
    algorithm = create_algo(algo_factory.get_class("optunatpe"), space)
    inner = algorithm.unwrapped
    return inner.space["x"], make_distributions(inner.space)["x"]


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ("uniform(0.5, 20)", FloatDistribution(0.5, 20)),
        ("loguniform(3e-4, 3e-3)", FloatDistribution(3e-4, 3e-3, log=True)),
        ("uniform(1, 5, discrete=True)", IntDistribution(1, 5)),
        ("loguniform(1, 64, discrete=True)", IntDistribution(1, 64, log=True)),
        ("choices(['a', None, 2])", CategoricalDistribution(range(3))),
    ],
)
def test_each_prior_has_its_distribution(prior, expected):
    _, distribution = dimension_of(prior)
    assert distribution == expected


@pytest.mark.parametrize("low, high", [(0.12341, 0.56789), (1 / 3, 2 / 3)])
def test_bounds_are_the_outermost_numbers_of_an_axis(low, high):
    """Of four significant digits, which is Orion's precision."""
    _, distribution = dimension_of(f"uniform({low}, {high})")
    step = Decimal("0.0001")
    first, last = (
        Decimal(str(n)) for n in (distribution.low, distribution.high)
    )
    assert first % step == last % step == 0
    assert first - step < Decimal(low) <= first
    assert last <= Decimal(high) < last + step


@pytest.mark.parametrize(
    ("prior", "values"),
    [
        ("choices(['gLN', None, 2, 2.5])", ["gLN", None, 2, 2.5]),
        ("uniform(1, 5, discrete=True)", [1, 3, 5]),
        ("uniform(0, 1)", [0.0, 0.1234, 1.0]),
    ],
)
def test_values_there_and_back(prior, values):
    dimension, distribution = dimension_of(prior)
    for value in values:
        there = to_optuna(value, dimension, distribution)
        assert distribution._contains(distribution.to_internal_repr(there))
        assert to_orion(there, dimension) == value


def test_what_a_user_inserted_at_a_bound_is_clipped():
    dimension, distribution = dimension_of("uniform(0.12341, 0.56789)")
    assert to_optuna(0.12341, dimension, distribution) == distribution.low
    assert to_optuna(0.56789, dimension, distribution) == distribution.high


def test_what_optuna_draws_is_rounded_as_orion_would():
    dimension, _ = dimension_of("loguniform(1e-4, 1)")
    assert to_orion(0.000123456, dimension) == 0.0001235
