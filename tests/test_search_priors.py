"""Priors in Orion's words."""

import pytest
from orion.core.io.space_builder import SpaceBuilder
from polsess.errors import UserError
from polsess.search.sweep import read_prior


@pytest.mark.parametrize(
    "text",
    [
        "loguniform(3e-4, 3e-3)",
        "uniform(0.5, 20)",
        "uniform(1, 5, discrete=True)",
        "loguniform(1,100,discrete=True)",
        "uniform(-1.5, .5)",
    ],
)
def test_means_what_orion_takes_it_for(text):
    prior = read_prior("x", text, "a.yaml")
    dimension = SpaceBuilder().build({"/x": text})["/x"]
    low, high = dimension.interval()
    assert prior.low == pytest.approx(low)
    assert prior.high == pytest.approx(high)
    assert prior.discrete == (dimension.type == "integer")
    assert prior.log == (dimension.prior.name in ("loguniform", "reciprocal"))
    for value in dimension.sample(50, seed=1):
        prior.check("x", value if prior.discrete else float(value), "a.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "loguniform(0, 1)",
        "uniform(2, 1)",
        "uniform(1, 1)",
        "uniform(1)",
        "uniform(1, 2.5, discrete=True)",
        "normal(0, 1)",
        "uniform(1, 2) # x",
        "uniform(a, b)",
        3,
        None,
    ],
)
def test_refuses_what_is_no_prior(text):
    with pytest.raises(UserError, match=r"a\.yaml: lr: "):
        read_prior("lr", text, "a.yaml")


def test_equal_when_they_mean_the_same():
    first = read_prior("lr", "loguniform(3e-4, 3e-3)", "a")
    assert first == read_prior("lr", "loguniform(0.0003,0.003)", "b")
    assert first != read_prior("lr", "loguniform(3e-4, 4e-3)", "b")
    assert first != read_prior("lr", "uniform(3e-4, 3e-3)", "b")


@pytest.mark.parametrize("value", [0, 6, 2.5, "3", True, float("nan")])
def test_a_value_outside_of_it_is_an_error(value):
    prior = read_prior("lr_patience", "uniform(1, 5, discrete=True)", "a.yaml")
    with pytest.raises(UserError, match=r"--lr_patience .*a\.yaml"):
        prior.check("lr_patience", value, "a.yaml")


def test_a_value_that_orion_has_rounded_beyond_a_bound_is_taken():
    prior = read_prior("lr", "loguniform(1.234567e-3, 2e-3)", "a.yaml")
    prior.check("lr", 1.23456e-3, "a.yaml")
    with pytest.raises(UserError):
        prior.check("lr", 1.234e-3, "a.yaml")
