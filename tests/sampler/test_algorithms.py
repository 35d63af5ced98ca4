"""The sampler of the hyperparameter search."""

import math
import pickle
from itertools import combinations
from statistics import median

import pytest
from orion.core.io.space_builder import SpaceBuilder
from small_samplers import BOTH, SPACE, completed, make, run


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
    assert {params["patience"] for params in trials} == {1, 2, 3, 4, 5}
    assert all(type(params["width"]) is int for params in trials)


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
    for seed in range(4):
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


@BOTH
def test_a_search_begins_where_an_earlier_one_found_the_best(name):
    """From its first trial on, and again from a restored state."""
    former = make({"x": "uniform(0, 1)"}, name, seed=3)
    run(former, 20, lambda params: 9 + abs(params["x"] - 0.3))
    known = [t for t in former.registry if t.status == "completed"]
    algorithm = make({"x": "uniform(0, 1)"}, name, seed=4)
    algorithm.warm_start([(None, known)])
    assert algorithm.n_suggested == 0
    restored = make({"x": "uniform(0, 1)"}, name, seed=5)
    restored.set_state(pickle.loads(pickle.dumps(algorithm.state_dict)))
    places = []
    for other in (algorithm, restored):
        tried = run(other, 4, lambda params: abs(params["x"] - 0.3))
        places.append([params["x"] for params in tried])
    assert places[0] == places[1]
    assert median(abs(place - 0.3) for place in places[0]) < 0.1


def min_distance(places):
    """The smallest distance between any two numbers."""
    return min(abs(a - b) for a, b in combinations(places, 2))


@pytest.mark.parametrize(
    ("name", "value", "statistics"),
    [
        ("optunatpe", math.nan, {}),
        ("optunagp", -math.inf, {}),
        ("optunatpe", -1e9, {"failed": 1}),
        ("optunagp", -1e9, {"failed": 1}),
        ("optunatpe", 5.0, {"stopped": 1, "epochs": 10}),
    ],
)
def test_failed_and_stopped_trials_repel(name, value, statistics):
    """Above 0.4 everything fails, with whatever value, or is stopped."""
    algorithm = make({"x": "uniform(0, 1)"}, name, seed=2)
    places = []
    for _ in range(40):
        [trial] = algorithm.suggest(1)
        place = trial.params["x"]
        places.append(place)
        if place > 0.4:
            algorithm.observe([completed(trial, value, **statistics)])
        else:
            algorithm.observe([completed(trial, abs(place - 0.15))])
    assert sum(place <= 0.4 for place in places[-20:]) >= 14


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


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        ("fidelity(1, 9)", "give uniform"),
        ("normal(0, 1)", "give uniform"),
        ("uniform(0, 1, shape=2)", "give uniform"),
        ("choices(['a', 'b'])", "give uniform"),
        ("loguniform(0.5, 9, discrete=True)", "low"),
        ("uniform(0.12341, 0.12349)", "low"),
    ],
)
def test_a_dimension_beyond_optuna_is_named(prior, words):
    with pytest.raises(ValueError, match=f"'odd'.*{words}"):
        make({"odd": prior, "lr": SPACE["lr"]})
