"""The rules against slow, obvious ones, on random and recorded curves."""

import random
from pathlib import Path

import numpy as np
import pytest
from polsess.search.early_termination import Hyperband, Median

RECORDED = Path(__file__).parents[1] / "recorded_curves.csv"


def slow_hyperband(curve, others, min_iter, eta, s):
    """Whether to stop: sort everybody who got there, and look for oneself."""
    epoch = len(curve)
    if epoch not in [min_iter * eta**k for k in range(s)]:
        return False
    everybody = [max(other[:epoch]) for other in others if len(other) >= epoch]
    everybody = sorted([*everybody, max(curve)], reverse=True)
    places = 0
    while places * eta < len(everybody):  # n / eta rounded up
        places += 1
    return max(curve) < everybody[places - 1]


def slow_improvements(curve, others, min_iter, eta, s):
    """Whether to stop: write down each improvement of everybody, as a log."""

    def log(values):
        written = []
        for value in values:
            if not written or value > written[-1]:
                written.append(value)
        return written

    mine = log(curve)
    if len(mine) not in [min_iter * eta**k for k in range(s)]:
        return False
    if log(curve[:-1]) == mine:  # the newest epoch wrote nothing
        return False
    logs = [log(other) for other in others]
    everybody = [line[len(mine) - 1] for line in logs if len(line) >= len(mine)]
    everybody = sorted([*everybody, mine[-1]], reverse=True)
    places = 0
    while places * eta < len(everybody):
        places += 1
    return mine[-1] < everybody[places - 1]


def by_improvements(**numbers):
    """The rule that counts improvements."""
    return Hyperband(**numbers, count="improvements")


def slow_median(curve, others, from_epoch, patience):
    """Whether to stop: count the epochs below the median one by one."""
    in_a_row = 0
    for epoch in range(1, len(curve) + 1):
        known = [other[:epoch] for other in others if len(other) >= epoch]
        below = False
        if known and epoch >= from_epoch:
            median = np.median(np.mean(known, axis=1))
            below = np.max(curve[:epoch]) < median
        in_a_row = in_a_row + 1 if below else 0
    return in_a_row >= patience


def random_curves(generator, count, epochs):
    """Curves that rise with noise; some in whole dB, so that there are ties."""
    curves = []
    for _ in range(count):
        level = generator.uniform(-3, 4)
        noise = generator.choice([0.1, 1.0])
        digits = generator.choice([0, 6])
        length = generator.randint(1, epochs)
        curves.append(
            [
                round(level - 5 / e + generator.gauss(0, noise), digits)
                for e in range(1, length + 1)
            ]
        )
    return curves


@pytest.mark.parametrize("seed", range(30))
def test_rules_agree_with_the_slow_ones(seed):
    generator = random.Random(seed)
    draw = generator.randint
    hyperband = {"min_iter": draw(1, 3), "eta": draw(2, 4), "s": draw(1, 3)}
    median = {"from_epoch": draw(1, 6), "patience": draw(1, 5)}
    curves = random_curves(generator, draw(1, 12), 30)
    stopped = 0
    for number, whole in enumerate(curves):
        others = curves[:number] + curves[number + 1 :]
        for length in range(1, len(whole) + 1):
            curve = whole[:length]
            for rule, slow, numbers in (
                (Hyperband, slow_hyperband, hyperband),
                (by_improvements, slow_improvements, hyperband),
                (Median, slow_median, median),
            ):
                reason = rule(**numbers).reason_to_stop(curve, others)
                assert (reason is not None) == slow(curve, others, **numbers)
                stopped += reason is not None
    assert len(curves) < 4 or stopped  # otherwise nothing was compared


def recorded_curves():
    """Read the curves of real trainings."""
    lines = RECORDED.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in lines if not line.startswith("#")]
    return [[float(value) for value in row[1:]] for row in rows]


def replay(curves, generator, workers, decide):
    """Let workers train trials again, in another order; return who stopped.

    Each takes the next trial when it is done with one; whose epoch ends next
    is drawn. ``decide`` gets the trial's curve and those of the others so far.
    """
    waiting = list(range(len(curves)))
    generator.shuffle(waiting)
    busy, lengths, stopped = [], [0] * len(curves), []
    while waiting or busy:
        while waiting and len(busy) < workers:
            busy.append(waiting.pop())
        trial = generator.choice(busy)
        lengths[trial] += 1
        known = [
            curve[:length]
            for curve, length in zip(curves, lengths, strict=True)
        ]
        others = known[:trial] + known[trial + 1 :]
        if decide(known[trial], [other for other in others if other]):
            stopped.append(trial)
        elif lengths[trial] < len(curves[trial]):
            continue
        busy.remove(trial)
    return stopped


@pytest.mark.parametrize("workers", [1, 4, 100])
@pytest.mark.parametrize(
    "rule, slow, numbers",
    [
        (Hyperband, slow_hyperband, {"min_iter": 10, "eta": 3, "s": 2}),
        (Hyperband, slow_hyperband, {"min_iter": 2, "eta": 3, "s": 2}),
        (by_improvements, slow_improvements, {"min_iter": 3, "eta": 3, "s": 2}),
        (Median, slow_median, {"from_epoch": 20, "patience": 5}),
        (Median, slow_median, {"from_epoch": 3, "patience": 2}),
    ],
)
def test_rules_agree_on_recorded_curves(rule, slow, numbers, workers):
    curves = recorded_curves()
    outcomes = set()
    for seed in range(10):  # of the order in which the trials arrive

        def decide(curve, others):
            reason = rule(**numbers).reason_to_stop(curve, others)
            assert (reason is not None) == slow(curve, others, **numbers)
            return reason

        stopped = replay(curves, random.Random(seed), workers, decide)
        assert 0 < len(stopped) < len(curves)
        outcomes.add(frozenset(stopped))
    # The order does matter; otherwise one would have been enough.
    assert len(outcomes) > 1


def test_published_brackets_are_epochs_10_and_30():
    rule = Hyperband(min_iter=10, eta=3, s=2)
    better = [[float(e) for e in range(1, 51)]] * 3
    stops = [
        epoch
        for epoch in range(1, 51)
        if rule.reason_to_stop([0.0] * epoch, better)
    ]
    assert stops == [10, 30]


def test_improvements_come_later_than_epochs():
    rule = by_improvements(min_iter=10, eta=3, s=2)
    better = [[float(e) for e in range(1, 81)]] * 3
    curve = []
    stops = []
    for epoch in range(1, 81):
        # Every fourth epoch is no better than the one before.
        curve.append(curve[-1] if epoch % 4 == 0 else epoch / 1000)
        if reason := rule.reason_to_stop(curve, better):
            stops.append((epoch, reason))
    assert stops == [
        (13, "hyperband: rank 4 of 4 at improvement 10, and only 2 go on"),
        (39, "hyperband: rank 4 of 4 at improvement 30, and only 2 go on"),
    ]


def test_the_first_to_arrive_passes_and_equals_pass_together():
    rule = Hyperband(min_iter=2, eta=3, s=1)
    assert rule.reason_to_stop([1.0, 1.0], []) is None
    assert rule.reason_to_stop([1.0, 1.0], [[9.0]]) is None  # not there yet
    assert rule.reason_to_stop([1.0, 1.0], [[1.0, 1.0]] * 5) is None
    reason = rule.reason_to_stop([1.0, 0.9], [[1.1, 0.0], [0.0, 1.2], [0, 0]])
    assert reason == "hyperband: rank 3 of 4 at epoch 2, and only 2 go on"


def test_published_median_stops_at_24_at_the_earliest():
    rule = Median(from_epoch=20, patience=5)
    others = [[2.0] * 80, [3.0] * 80, [4.0] * 80]
    curve = [2.9] * 80
    stops = [
        epoch
        for epoch in range(1, 81)
        if rule.reason_to_stop(curve[:epoch], others)
    ]
    assert stops[0] == 24
    # One epoch that is not below starts the count anew.
    recovered = [2.9] * 21 + [3.0] + [2.9] * 58
    assert not any(
        rule.reason_to_stop(recovered[:epoch], others) for epoch in range(1, 81)
    )
    assert rule.reason_to_stop(curve, []) is None
