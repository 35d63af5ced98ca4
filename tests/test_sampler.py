"""The sampler of the hyperparameter search, and hunts with it."""

import json
import math
import os
import pickle
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from statistics import median

import pytest
from optuna.trial import TrialState
from orion.algo.base import algo_factory
from orion.client import build_experiment
from orion.core.io.space_builder import SpaceBuilder
from orion.core.worker.primary_algo import create_algo
from orion.core.worker.trial import Trial
from orion_optuna.studies import ranked_outcomes, valued_outcomes

SOURCE = Path(__file__).parents[1] / "recipes/PolSESS/sweeps/sampler"
SPACE = {
    "lr": "loguniform(3e-4, 3e-3)",
    "clip": "uniform(0.5, 20)",
    "factor": "uniform(0.3, 0.95)",
    "patience": "uniform(1, 5, discrete=True)",
    "width": "loguniform(1, 64, discrete=True)",
    "norm": "choices(['gLN', 'cLN', None, 2])",
}
ALGORITHMS = ("optunatpe", "optunagp")
BOTH = pytest.mark.parametrize("name", ALGORITHMS)
# A trial of the command line: reports x, or crashes at 3.
SCRIPT = """
import json, os, sys
x = float(sys.argv[-1])
open("calls.txt", "a").write(f"{x}\\n")
if x == 3:
    sys.exit("crash")
result = [{"name": "objective", "type": "objective", "value": x}]
json.dump(result, open(os.environ["ORION_RESULTS_PATH"], "w"))
"""


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


@BOTH
def test_values_lie_on_their_axes(name):
    trials = run(make(SPACE, name, seed=1), 30, lambda params: params["clip"])
    space = SpaceBuilder().build(SPACE)
    assert all(
        params[axis] in dimension
        for params in trials
        for axis, dimension in space.items()
    )
    assert all(float(f"{p['lr']:.3e}") == p["lr"] for p in trials)
    assert {params["norm"] for params in trials} == {"gLN", "cLN", None, 2}
    assert {params["patience"] for params in trials} == {1, 2, 3, 4, 5}
    assert all(type(params["width"]) is int for params in trials)


def test_logarithmic_axes_are_searched_as_such():
    algorithm = make({"x": "loguniform(1e-6, 1)"}, seed=3, n_startup_trials=100)
    values = run(algorithm, 80, lambda params: 0.0)
    middle = median(math.log10(params["x"]) for params in values)
    assert -4 < middle < -2


def test_rounding_does_not_leave_the_interval():
    space = {"x": "uniform(0.12346, 0.12369)", "y": "loguniform(1e-4, 1)"}
    values = run(make(space, seed=0), 20, lambda params: -params["x"])
    assert {params["x"] for params in values} <= {0.1235, 0.1236}


def test_a_nested_name():
    algorithm = make({"model.lr": "uniform(0, 1)"}, seed=0)
    values = run(algorithm, 12, lambda params: params["model"]["lr"])
    assert len({params["model"]["lr"] for params in values}) == 12


def test_a_seed_repeats_everything():
    first, second, other = (
        run(make(SPACE, seed=seed), 15, lambda params: params["lr"])
        for seed in (5, 5, 6)
    )
    assert first == second != other


@BOTH
def test_a_restored_state_goes_on_as_if_nothing_happened(name):
    whole = make(SPACE, name, seed=7)
    run(whole, 14, lambda params: params["factor"])
    running = [whole.suggest(1)[0] for _ in range(3)]
    broken = whole.suggest(1)[0]
    broken.status = "broken"
    whole.observe([broken])
    state = pickle.dumps(whole.state_dict)

    restored = make(SPACE, name, seed=99)
    restored.set_state(pickle.loads(state))
    for algorithm in (whole, restored):
        algorithm.observe(
            [completed(pickle.loads(pickle.dumps(running[0])), 0.5)]
        )
    assert run(whole, 6, lambda params: params["clip"]) == run(
        restored, 6, lambda params: params["clip"]
    )


@BOTH
def test_running_trials_are_kept_away_from(name):
    """Four workers that know of each other, and four that do not."""
    space = {"x": "uniform(0, 1)"}
    known, unknown = [], []
    for seed in range(6):
        first = make(space, name, seed=seed)
        finished = []
        for _ in range(14):
            [trial] = first.suggest(1)
            finished.append(completed(trial, (trial.params["x"] - 0.3) ** 2))
            first.observe(finished[-1:])
        together = [first.suggest(1)[0].params["x"] for _ in range(4)]
        alone = []
        for other in range(4):
            algorithm = make(space, name, seed=100 * seed + other)
            algorithm.observe(finished)
            alone.append(algorithm.suggest(1)[0].params["x"])
        known.append(min_distance(together))
        unknown.append(min_distance(alone))
    assert median(known) > 1.5 * median(unknown)


def min_distance(places):
    """The smallest distance between any two numbers."""
    return min(abs(a - b) for a, b in combinations(places, 2))


@pytest.mark.parametrize(
    ("status", "value", "statistics", "state"),
    [
        ("completed", -3.0, {"stopped": 0, "failed": 0}, TrialState.COMPLETE),
        ("completed", -3.0, {"stopped": 1, "epochs": 9}, TrialState.PRUNED),
        ("completed", 30.0, {"failed": 1, "epochs": 2}, TrialState.PRUNED),
        ("completed", math.nan, {}, TrialState.PRUNED),
        ("completed", -math.inf, {}, TrialState.PRUNED),
        ("broken", None, {}, TrialState.FAIL),
        ("new", None, {}, TrialState.RUNNING),
        ("reserved", None, {}, TrialState.RUNNING),
        ("interrupted", None, {}, TrialState.RUNNING),
    ],
)
def test_what_a_trial_counts_as(status, value, statistics, state):
    trial = Trial(params=[])
    if value is not None:
        completed(trial, value, **statistics)
    trial.status = status
    [result] = ranked_outcomes([trial])
    assert result["state"] == state
    stopped = {9: -3.0} if "epochs" in statistics else {}
    if "failed" not in statistics:
        assert result.get("intermediate_values", {}) == stopped


def test_what_stopped_and_failed_trials_are_worth():
    trials = [
        completed(Trial(params=[]), -3.0),
        completed(Trial(params=[]), -1.0, stopped=1, epochs=9),
        completed(Trial(params=[]), -9e9, failed=1, epochs=2),
        completed(Trial(params=[]), math.nan),
    ]
    values = [result["value"] for result in valued_outcomes(trials)]
    assert values == [-3.0, -1.0, -1.0, -1.0]
    # With nothing to compare with, they are left out.
    [alone] = valued_outcomes(trials[3:])
    assert alone == {"state": TrialState.FAIL}


@BOTH
@pytest.mark.parametrize("value", [math.nan, -math.inf, -1e9])
def test_failed_trials_repel(value, name):
    """Everything above 0.4 fails, with whatever value."""
    algorithm = make({"x": "uniform(0, 1)"}, name, seed=2)
    failed = {"failed": 1} if math.isfinite(value) else {}
    places = []
    for _ in range(40):
        [trial] = algorithm.suggest(1)
        place = trial.params["x"]
        places.append(place)
        if place > 0.4:
            algorithm.observe([completed(trial, value, **failed)])
        else:
            algorithm.observe([completed(trial, abs(place - 0.15))])
    assert sum(place <= 0.4 for place in places[-20:]) >= 14


def test_stopped_trials_count_less_than_finished_ones():
    """Above 0.5 everything is stopped, at a value that looks better."""
    algorithm = make({"x": "uniform(0, 1)"}, seed=4)
    places = []
    for _ in range(40):
        [trial] = algorithm.suggest(1)
        place = trial.params["x"]
        places.append(place)
        if place > 0.5:
            results = completed(trial, -5.0, stopped=1, epochs=10)
        else:
            results = completed(trial, (place - 0.2) ** 2, stopped=0)
        algorithm.observe([results])
    assert sum(place <= 0.5 for place in places[-20:]) >= 14


@BOTH
def test_better_than_random_search(name):
    def function(params):
        lr = math.log10(params["lr"] / 1e-3)
        clip, factor = params["clip"] / 20 - 0.3, params["factor"] - 0.7
        return lr**2 + clip**2 + 4 * factor**2

    space = {axis: SPACE[axis] for axis in ("lr", "clip", "factor")}

    def best(algorithm):
        return median(
            min(
                map(
                    function,
                    run(make(space, algorithm, seed=seed), 40, function),
                )
            )
            for seed in range(3)
        )

    assert best(name) < 0.5 * best("random")


@BOTH
def test_a_tiny_space_is_tried_once_and_done(name):
    space = {"n": "uniform(1, 4, discrete=True)", "c": "choices(['a', 'b'])"}
    algorithm = make(space, name, seed=0)
    values = run(algorithm, 8, lambda params: params["n"])
    assert len({tuple(params.values()) for params in values}) == 8
    assert algorithm.is_done
    assert algorithm.suggest(1) == []


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        ("fidelity(1, 9)", "fidelity"),
        ("normal(0, 1)", "prior norm"),
        ("uniform(0, 1, shape=2)", "shape"),
        ("choices({'a': 0.7, 'b': 0.3})", "probabilities"),
        ("loguniform(0.5, 9, discrete=True)", "below 1"),
        ("uniform(0.12341, 0.12349)", "precision"),
    ],
)
def test_a_dimension_beyond_optuna_is_named(prior, words):
    with pytest.raises(ValueError, match=f"'odd'.*{words}"):
        make({"odd": prior, "lr": SPACE["lr"]})


@pytest.mark.parametrize(
    "options", [{"seed": -1}, {"seed": "x"}, {"n_startup_trials": 0}]
)
def test_an_option_out_of_range_is_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        make(SPACE, **options)


@BOTH
def test_a_hunt_suggests_what_the_algorithm_does(name, tmp_path):
    """Three trials run at a time: Orion hands the pending ones over."""
    algorithm = make(SPACE, name, seed=8)
    client = build_experiment(
        name,
        space=SPACE,
        algorithm={name: {"seed": 8}},
        working_dir=str(tmp_path),
        storage={"type": "legacy", "database": {"type": "ephemeraldb"}},
    )
    running = []
    for number in range(18):
        running.append((algorithm.suggest(1)[0], client.suggest(pool_size=3)))
        assert running[-1][0].params == running[-1][1].params
        if number >= 2:
            alone, hunted = running.pop(0)
            value = alone.params["factor"]
            algorithm.observe([completed(alone, value)])
            client.observe(hunted, value)
    for _, hunted in running:
        client.release(hunted)


def start_hunt(folder, prior, max_trials):
    """Start `orion hunt` on the script, with a database in the folder."""
    folder.mkdir(exist_ok=True)
    Path(folder, "script.py").write_text(SCRIPT)
    configuration = {
        "algorithm": {"optunagp": {"seed": 42}},  # as the stages' files
        "storage": {
            "type": "legacy",
            "database": {"type": "pickleddb", "host": str(folder / "db.pkl")},
        },
    }
    # JSON is YAML.
    Path(folder, "sweep.yaml").write_text(json.dumps(configuration))
    command = [
        str(Path(sys.executable).with_name("orion")),
        *("hunt", "-n", "tiny", "--config", "sweep.yaml"),
        *("--exp-max-trials", str(max_trials), "--exp-max-broken", "2"),
        *(sys.executable, "-SE", "script.py", f"--x~{prior}"),
    ]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def values_tried(folder, *hunts):
    """Wait for hunts to end well; returns what was tried, in order."""
    for process in hunts:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
    return Path(folder, "calls.txt").read_text().split()


def test_a_hunt_goes_on_as_if_it_had_not_ended(tmp_path):
    prior = "uniform(0, 1)"
    values_tried(tmp_path, start_hunt(tmp_path, prior, 5))
    tried = values_tried(tmp_path, start_hunt(tmp_path, prior, 13))
    algorithm = make({"x": prior}, "optunagp", seed=42)
    alone = run(algorithm, 13, lambda params: params["x"])
    assert list(map(float, tried)) == [params["x"] for params in alone]


def test_two_hunts_exhaust_a_tiny_space(tmp_path):
    prior = "uniform(1, 6, discrete=True)"
    hunts = [start_hunt(tmp_path, prior, 100) for _ in range(2)]
    tried = values_tried(tmp_path, *hunts)
    assert sorted(map(float, tried)) == [1, 2, 3, 4, 5, 6]
