"""Trials of a search in optuna-dashboard, read-only."""

import contextlib
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from optuna_dashboard import wsgi
from polsess.errors import UserError
from polsess.run_folder import FINISHED, read_curve
from polsess.search.sweep import Prior, Sweep

from experiments.trials import OPEN, read_trials

STATES = {
    FINISHED: TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    OPEN: TrialState.RUNNING,
}  # others: FAIL
KEPT_SECONDS = 10.0  # after which the dashboard reads the trials again

optuna.logging.set_verbosity(optuna.logging.WARNING)


def _distribution(prior: Prior) -> Any:
    """Convert a prior to Optuna's distribution."""
    if prior.discrete:
        return IntDistribution(int(prior.low), int(prior.high), prior.log)
    return FloatDistribution(prior.low, prior.high, prior.log)


def _convert(trial, space):
    """Convert a trial with its learning curve to one of Optuna's."""
    curve = read_curve(trial.folder)
    ended = trial.status in (FINISHED, "stopped")
    params = {  # Orion may round beyond a bound.
        n: type(v)(min(max(v, space[n].low), space[n].high))
        for n, v in trial.parameters.items()
    }
    converted = create_trial(
        state=STATES.get(trial.status, TrialState.FAIL),
        value=trial.objective if ended else None,
        params=params,
        distributions={n: _distribution(space[n]) for n in params},
        intermediate_values={}
        if curve is None
        else dict(zip(curve["epoch"], curve["valid_si_sdr"], strict=True)),
        user_attrs={"name": trial.name, "reason": trial.reason},
    )
    end = min(trial.unixtime, time.time())
    converted.datetime_start = datetime.fromtimestamp(end - trial.seconds)
    if trial.status != OPEN:
        converted.datetime_complete = datetime.fromtimestamp(end)
    return converted


def make_storage(stages: list[Sweep], output: Path) -> InMemoryStorage:
    """Copy the trials of stages, with their curves, to a storage of Optuna's.

    Arguments
    ---------
    stages : list of Sweep
        A study each, with the same ID each time.
    output : Path
        Of all sweeps.

    Returns
    -------
    optuna.storages.InMemoryStorage
        Of a study the ended trials are the first, in the order of their ends.
    """
    storage = InMemoryStorage()
    for stage in stages:
        study = optuna.create_study(
            storage=storage, study_name=stage.name, direction="maximize"
        )
        trials = sorted(read_trials(stage, output), key=lambda t: t.unixtime)
        study.add_trials(_convert(t, stage.space) for t in trials)
    return storage


def make_app(stages: list[Sweep], output: Path) -> Any:
    """Make the dashboard, a WSGI application that refuses all changes.

    Arguments
    ---------
    stages : list of Sweep
        Whose trials to show; they are read again after KEPT_SECONDS.
    output : Path
        Of all sweeps.

    Raises
    ------
    UserError
        If a trial's file is damaged.
    """
    app, made = wsgi(make_storage(stages, output)), time.monotonic()

    def answer(environ, start_response):
        nonlocal app, made
        if environ["REQUEST_METHOD"] != "GET":
            header = [("Content-Type", "application/json")]
            start_response("403 Forbidden", header)
            return [b'{"reason": "This dashboard is read-only."}']
        if time.monotonic() > made + KEPT_SECONDS:
            with contextlib.suppress(UserError):  # `status` reports it
                app = wsgi(make_storage(stages, output))
            made = time.monotonic()
        return app(environ, start_response)

    return answer
