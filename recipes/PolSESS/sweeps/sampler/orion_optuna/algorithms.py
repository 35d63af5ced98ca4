"""Optuna's samplers as algorithms of Orion."""

from typing import Any

import numpy as np
from optuna.samplers import GPSampler, RandomSampler, TPESampler
from orion.algo.base import BaseAlgorithm
from orion.core.utils.format_trials import dict_to_trial
from orion.core.worker.transformer import TransformedSpace
from orion.core.worker.trial import Trial

from .studies import (
    SettingError,
    make_distributions,
    make_study,
    ranked_outcomes,
    to_orion,
    valued_outcomes,
)

# Draws until one is new: from the model, then at random.
MODEL_DRAWS = 10
RANDOM_DRAWS = 200

# What _OptunaSampler stands before is Orion's base, in each algorithm alone:
# Orion takes every subclass of its base for an algorithm.
_Base: Any = object


class _OptunaSampler(_Base):
    """Common part of the algorithms.

    Arguments
    ---------
    space : orion.core.worker.transformer.TransformedSpace
        What is searched: uniform, loguniform (discrete or not) and choices.
    seed : int
        Everything random follows from it; None draws one.
    n_startup_trials : int
        Completed trials before the model takes over from random search.

    Raises
    ------
    SettingError
        For an option out of range or a dimension that Optuna cannot express.
    """

    # As they are: Optuna has logarithmic, integer and categorical axes itself.
    requires_type = None
    requires_dist = None
    requires_shape = None

    def __init__(
        self,
        space: TransformedSpace,
        seed: int | None = None,
        n_startup_trials: int = 10,
    ) -> None:
        for name, value, lowest in (
            ("seed", 0 if seed is None else seed, 0),
            ("n_startup_trials", n_startup_trials, 1),
        ):
            if not (isinstance(value, int) and value >= lowest):
                raise SettingError(
                    f"The algorithm's {name} is {value!r}, but must be an "
                    f"integer from {lowest}."
                )
        super().__init__(space, seed=seed, n_startup_trials=n_startup_trials)
        self.distributions = make_distributions(space)

    def seed_rng(self, seed: int | None) -> None:
        """Seed the generator; with None by the operating system."""
        self.generator = np.random.default_rng(seed)

    @property
    def state_dict(self) -> dict:
        """State of trials and generator, on which all suggestions depend."""
        state = self.generator.bit_generator.state
        return super().state_dict | {"generator": state}

    def set_state(self, state_dict: dict) -> None:
        """Go on from a state, as `state_dict` gave it."""
        super().set_state(state_dict)
        self.generator.bit_generator.state = state_dict["generator"]

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
        trials = list(self.registry)
        study = make_study(
            trials, self.outcomes(trials), self.space, self.distributions
        )
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
        values = {n: to_orion(v, self.space[n]) for n, v in drawn.items()}
        return dict_to_trial(values, self.space)


class OptunaGP(_OptunaSampler, BaseAlgorithm):
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

    outcomes = staticmethod(valued_outcomes)

    def suggest(self, num: int) -> list[Trial]:
        """Suggest a trial, with one thread."""
        # Takes seconds: not for every command of Orion's.
        import torch

        # Its matrices are tiny, and the other cores busy with training.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return super().suggest(num)
        finally:
            torch.set_num_threads(threads)

    def make_sampler(self, seed: int) -> GPSampler:
        """Make Optuna's sampler from a seed."""
        return GPSampler(
            seed=seed,
            n_startup_trials=self.n_startup_trials,
            warn_independent_sampling=False,
        )


class OptunaTPE(_OptunaSampler, BaseAlgorithm):
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
        What is searched: uniform, loguniform (discrete or not) and choices.
    seed : int
        Everything random follows from it; None draws one.
    n_startup_trials : int
        Completed trials before the estimator takes over from random search.

    Raises
    ------
    SettingError
        For an option out of range or a dimension that Optuna cannot express.

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

    outcomes = staticmethod(ranked_outcomes)

    def make_sampler(self, seed: int) -> TPESampler:
        """Make Optuna's sampler from a seed."""
        return TPESampler(
            seed=seed,
            multivariate=True,
            n_startup_trials=self.n_startup_trials,
            constant_liar=True,
        )
