"""Optuna's samplers as algorithms of Orion."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from statistics import median
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import GPSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial
from orion.core.utils.exceptions import NoConfigurationError
from orion.core.utils.flatten import flatten
from orion.core.utils.format_trials import dict_to_trial
from orion.core.worker.transformer import TransformedSpace
from orion.core.worker.trial import Trial
from orion.core.worker.warm_start.warm_starteable import WarmStarteable

# Each study would write a message.
optuna.logging.set_verbosity(optuna.logging.WARNING)
# Orion calls loguniform by scipy's name, and puts int_ before an integer's.
SCALES = {"uniform": False, "reciprocal": True}


class SettingError(NoConfigurationError, ValueError):
    """A dimension that cannot be used.

    `orion` prints Orion's own errors as one line, and a traceback of others.
    """


def make_distributions(space: TransformedSpace) -> dict:
    """Make an Optuna distribution for each dimension of an Orion space.

    Arguments
    ---------
    space : orion.core.worker.transformer.TransformedSpace
        The space that Orion passes to an algorithm.

    Returns
    -------
    distributions : dict
        Name of a dimension to distribution.

    Raises
    ------
    SettingError
        For a dimension of another kind; names it.
    """
    distributions = {}
    for name, dimension in space.items():
        try:
            distributions[name] = _distribution(dimension)
        except ValueError as error:
            raise SettingError(f"The dimension {name!r}: {error}") from error
    return distributions


def _distribution(dim):
    """Make the distribution for one dimension."""
    original = dim.original_dimension
    log = SCALES.get(dim.prior_name.removeprefix("int_"))
    if log is None or dim.shape:
        raise ValueError("give uniform(low, high) or loguniform(low, high)")
    low, high = original.interval()
    if dim.type == "integer":
        return IntDistribution(int(low), int(high), log=log)
    low, high, digits = float(low), float(high), original.precision
    if digits is not None:
        # Rounding to the nearest must not leave the interval.
        low = _round(low, digits, ROUND_CEILING)
        high = _round(high, digits, ROUND_FLOOR)
    return FloatDistribution(low, high, log=log)


def _round(number, digits, rounding):
    """Round a number to some significant digits."""
    context = Context(prec=digits, rounding=rounding)
    # repr: the shortest decimal, 0.95 and not 0.9499999999999999556.
    return float(context.create_decimal(repr(number)))


def make_study(
    observations: list[tuple[dict, dict]], distributions: dict
) -> optuna.Study:
    """Make an Optuna study, in memory, of everything that is known.

    Arguments
    ---------
    observations : list of tuple
        Of each trial, in the order of suggestion, its parameters and its
        outcome, as `describe_outcomes` returns it.
    distributions : dict
        As `make_distributions` returns them.

    Returns
    -------
    study : optuna.Study
        To be minimised.
    """
    study = optuna.create_study(direction="minimize")
    for values, outcome in observations:
        values = flatten(values)
        # What a user inserted may lie on a bound which has more digits than the
        # axis's precision.
        params = {
            name: min(max(values[name], axis.low), axis.high)
            for name, axis in distributions.items()
        }
        study.add_trial(
            create_trial(params=params, distributions=distributions, **outcome)
        )
    return study


def describe_outcomes(trials: Iterable[Trial]) -> list[dict]:
    """Describe what trials have come to.

    A completed trial has its objective. One whose statistic `stopped` is not 0
    has what it would probably have reached: its objective, and what the
    finished ones gained after as many epochs (its statistic `epochs`), the
    median of their statistics `curve`; but nothing worse than the worst
    finished one. One whose statistic `failed` is not 0,
    or whose objective is not finite, has the worst value of all. A broken one,
    whose script crashed, says nothing about its parameters. All others are
    running, or will.

    Arguments
    ---------
    trials : iterable of orion.core.worker.trial.Trial
        Of any status.

    Returns
    -------
    outcomes : list of dict
        Arguments for Optuna's `create_trial`: `state`, and maybe `value`.

    Example
    -------
    >>> from orion.core.worker.trial import Trial
    >>> trial = Trial(params=[], status="completed")
    >>> trial.results = [Trial.Result(name="o", type="objective", value=-2.5)]
    >>> describe_outcomes([trial])[0]["value"]
    -2.5
    """
    outcomes, finished, stopped, curves = [], [], [], []
    for trial in trials:
        outcome: dict[str, Any] = {"state": TrialState.COMPLETE}
        told = {result.name: result.value for result in trial.statistics}
        value = float(trial.objective.value) if trial.objective else math.nan
        if trial.status == "broken":
            outcome = {"state": TrialState.FAIL}
        elif trial.status != "completed":
            outcome = {"state": TrialState.RUNNING}
        elif not told.get("failed") and math.isfinite(value):
            outcome["value"] = value
            if told.get("stopped"):
                stopped.append((outcome, told.get("epochs", 0)))
            else:
                finished.append(value)
                curves.append(told.get("curve", []))
        outcomes.append(outcome)
    worst = max(finished, default=math.inf)
    for outcome, epochs in stopped:
        gains = [c[-1] - c[epochs - 1] for c in curves if len(c) >= epochs > 0]
        outcome["value"] += median(gains) if gains else 0
        # Far worse values would hide the differences of good ones.
        outcome["value"] = min(outcome["value"], worst)
    reached = [outcome["value"] for outcome in outcomes if "value" in outcome]
    failed = {"state": TrialState.FAIL}
    if reached:
        failed = {"state": TrialState.COMPLETE, "value": max(reached)}
    return [
        failed if outcome == {"state": TrialState.COMPLETE} else outcome
        for outcome in outcomes
    ]


def _observations(trials):
    """List the parameters and outcome of each trial."""
    params = [trial.params for trial in trials]
    return list(zip(params, describe_outcomes(trials), strict=True))


def shift_prior(prior: list, observations: list) -> list[tuple[dict, dict]]:
    """Move the values of an earlier search to the level of this one.

    Arguments
    ---------
    prior, observations : list of tuple
        Parameters and outcomes of either search.

    Returns
    -------
    prior : list of tuple
        With the same shift for all values: the median difference of parameters
        that both have; without such, that of the best values.
    """
    values = [(p, o["value"]) for p, o in observations if "value" in o]
    shifts = [
        value - outcome["value"]
        for params, outcome in prior
        for others, value in values
        if params == others
    ]
    if values and prior and not shifts:
        best = min(value for _, value in values)
        shifts = [best - min(outcome["value"] for _, outcome in prior)]
    shift = median(shifts) if shifts else 0
    return [(p, o | {"value": o["value"] + shift}) for p, o in prior]


# Draws until one is new: from the model, then at random.
MODEL_DRAWS = 10
RANDOM_DRAWS = 200

# Only the algorithms themselves derive from Orion's base class, since Orion
# takes every subclass of it for an algorithm.
_Base: Any = object


class _OptunaSampler(_Base):
    """Common part of the algorithms; the arguments are as of `OptunaTPE`."""

    # As they are: Optuna has logarithmic and integer axes itself.
    requires_type = None
    requires_dist = None
    requires_shape = None

    def __init__(
        self,
        space: TransformedSpace,
        seed: int | None = None,
        n_startup_trials: int = 10,
    ) -> None:
        super().__init__(space, seed=seed, n_startup_trials=n_startup_trials)
        self.distributions = make_distributions(space)
        self.prior: list = []

    def seed_rng(self, seed: int | None) -> None:
        """Seed the generator; with None by the operating system."""
        self.generator = np.random.default_rng(seed)

    @property
    def state_dict(self) -> dict:
        """State of trials and generator, on which all suggestions depend."""
        state = self.generator.bit_generator.state
        return super().state_dict | {"generator": state, "prior": self.prior}

    def set_state(self, state_dict: dict) -> None:
        """Go on from a state, as `state_dict` gave it."""
        super().set_state(state_dict)
        self.generator.bit_generator.state = state_dict["generator"]
        self.prior = state_dict.get("prior", [])

    def warm_start(self, warm_start_trials: list[tuple]) -> None:
        """Begin with what earlier searches have found.

        Arguments
        ---------
        warm_start_trials : list of tuple
            Of each search, its configuration, which is ignored, and its
            completed trials; they replace those of an earlier call.
        """
        trials = [trial for _, found in warm_start_trials for trial in found]
        self.prior = [o for o in _observations(trials) if "value" in o[1]]

    def suggest(self, num: int) -> list[Trial]:
        """Suggest a trial that was not suggested before.

        Arguments
        ---------
        num : int
            Ignored: Orion asks again when a worker is free.

        Returns
        -------
        trials : list of orion.core.worker.trial.Trial
            One, or none when the space is exhausted.
        """
        if self.is_done:
            return []
        observations = _observations(list(self.registry))
        observations = shift_prior(self.prior, observations) + observations
        study = make_study(observations, self.distributions)
        # Samplers of their own for each suggestion, so that the generator is
        # all the random state there is to restore.
        seed = int(self.generator.integers(2**32))
        study.sampler = self.make_sampler(seed)
        for draw in range(MODEL_DRAWS + RANDOM_DRAWS):
            if draw == MODEL_DRAWS:
                study.sampler = RandomSampler(seed=seed)
            trial = self._draw(study)
            if not self.has_suggested(trial):
                self.register(trial)
                return [trial]
        return []

    def _draw(self, study):
        """Draw the study's next trial, as Orion's."""
        drawn = study.ask(self.distributions).params
        # Rounded to the axis's precision. Orion would round it later, and might
        # then know the trial already.
        values = {n: self.space[n].transform(v) for n, v in drawn.items()}
        return dict_to_trial(values, self.space)


class OptunaGP(_OptunaSampler, WarmStarteable):
    """Optuna's Gaussian process with logarithmic expected improvement.

    Trials that are still running are taken into account by the improvement
    that is expected beyond theirs. One trial is suggested at a time, however
    many are asked for, with all that is known by then.

    See "Unexpected improvements to expected improvement for Bayesian
    optimization" (Ament et al., 2023).

    Arguments
    ---------
    space, seed, n_startup_trials
        As `OptunaTPE`'s.

    Raises
    ------
    SettingError
        As `OptunaTPE`.
    """

    def make_sampler(self, seed: int) -> GPSampler:
        """Make Optuna's sampler from a seed, for one thread."""
        # Takes seconds: not for every command of Orion's.
        import torch

        # Its matrices are tiny, and the other cores busy with training.
        torch.set_num_threads(1)
        return GPSampler(
            seed=seed,
            n_startup_trials=self.n_startup_trials,
            warn_independent_sampling=False,
        )


class OptunaTPE(_OptunaSampler, WarmStarteable):
    """Optuna's multivariate tree-structured Parzen estimator.

    Trials that are still running count as bad ones ("constant liar"), so that
    parallel workers keep apart. One trial is suggested at a time, however many
    are asked for, with all that is known by then.

    See "Algorithms for hyper-parameter optimization" (Bergstra et al., 2011),
    and for the multivariate form "BOHB: robust and efficient hyperparameter
    optimization at scale" (Falkner et al., 2018).

    Arguments
    ---------
    space : orion.core.worker.transformer.TransformedSpace
        What is searched: uniform and loguniform, discrete or not.
    seed : int
        Everything random follows from it; None draws one.
    n_startup_trials : int
        Completed trials before the estimator takes over from random search.

    Raises
    ------
    SettingError
        For a dimension of another kind.

    Example
    -------
    >>> from orion.core.io.space_builder import SpaceBuilder
    >>> from orion.core.worker.primary_algo import create_algo
    >>> space = SpaceBuilder().build({"lr": "loguniform(3e-4, 3e-3)"})
    >>> algorithm = create_algo(OptunaTPE, space, seed=42)
    >>> [trial] = algorithm.suggest(1)
    >>> 3e-4 <= trial.params["lr"] <= 3e-3
    True
    """

    def make_sampler(self, seed: int) -> TPESampler:
        """Make Optuna's sampler from a seed."""
        return TPESampler(
            seed=seed,
            multivariate=True,
            n_startup_trials=self.n_startup_trials,
            constant_liar=True,
        )
