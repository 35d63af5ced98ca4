"""Runs that are killed at random points and resumed come to the same."""

import random

import pytest
from killed_runs import KilledRuns


@pytest.mark.parametrize(
    ("model", "kills"),
    [("convtasnet", 10), ("dprnn", 2), ("sepformer", 2), ("spmamba", 2)],
)
def test_killed_runs_come_to_the_same(model, kills, small_corpus, tmp_path):
    runs = KilledRuns(model, small_corpus, tmp_path)
    seed = random.randrange(10**9)
    print(f"{seed = }")  # shown if it fails
    generator = random.Random(seed)
    for number in range(kills):
        runs.kill_and_resume(f"killed{number}", generator)
