"""Separating and scoring a test set."""

import contextlib
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluate import SLOW_IMPORTS
from polsess.errors import UserError
from polsess.scoring.evaluation import Evaluation, score_estimates
from polsess.scoring.folder import EvaluationFolder
from polsess.scoring.metrics import compute_metric
from polsess.scoring.test_sets import check_files, read_librimix
from polsess.worker_pool import WorkerPool
from small_test_sets import SETTINGS, write_librimix


def evaluation(function, test_set=None, files=None):
    """Make an evaluation on the CPU."""
    separator = torch.nn.Identity()
    separator.forward = function
    run = SimpleNamespace(separator=separator)
    return Evaluation(run, test_set, files, "cpu", "fp32")


def test_too_little_memory_is_reported():
    greedy = evaluation(lambda mixture: torch.empty(10**17))
    with pytest.raises(UserError, match=r"shape \[2, 400\].* smaller --batch"):
        greedy.separate(torch.zeros(2, 400))


def test_estimates_are_scored_at_the_level_of_the_mixture():
    generator = np.random.default_rng(0)
    sources = 0.1 * generator.standard_normal((2, 16000)).astype("f4")
    mixture = sources.sum(0)
    found = score_estimates(
        ("a", "C"), ["pesq", "sdr"], 30 * sources, sources, mixture, 8000
    )
    assert [score["metric"] for score in found] == ["pesq", "sdr"]
    for score in found:
        expected = compute_metric(
            score["metric"], sources, sources, mixture, 8000
        )
        assert score["scores"] == pytest.approx(expected[0], abs=0.01)
        assert score["mixture"] == expected[1]


@pytest.mark.parametrize(
    "on_gpu, expected",
    [
        # Cores are shared: nothing is separated while processes score.
        (False, [0, 3, 6, 9, 12]),
        # Meanwhile one more, whose SI-SDR is known at once.
        (True, [0, 1, 4, 7, 10]),
    ],
)
@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_separation_and_scoring_take_turns(
    tmp_path, monkeypatch, on_gpu, expected
):
    monkeypatch.setattr("polsess.scoring.evaluation.TOGETHER", 1)
    monkeypatch.setattr("polsess.scoring.evaluation.READING_PROCESSES", 0)
    write_librimix(tmp_path / "Libri2Mix", [8000] * 5)
    test_set = read_librimix(
        SETTINGS, tmp_path / "Libri2Mix", "test", ["mix_both"]
    )
    check_files(test_set, quiet=True)
    known = []

    def separate(mixture):
        known.append(len(files.known))
        return mixture.unsqueeze(-1).repeat(1, 1, 2)

    folder = tmp_path / "evaluation"
    with EvaluationFolder(folder, {}, test_set.audio) as files:
        evaluating = evaluation(separate, test_set, files)
        if on_gpu:
            monkeypatch.setattr(evaluating, "separate", separate)
            evaluating.device = torch.device("cuda")
        evaluating.score(
            ["sdr", "estoi"], 1, WorkerPool(1, SLOW_IMPORTS), quiet=True
        )
        assert len(files.known) == 15
    assert known == expected


def test_a_killed_process_is_reported(tmp_path):
    pool = WorkerPool(1, SLOW_IMPORTS)

    def separate(mixture):
        # The process has been started for the first mixture. The pool ends
        # the others when it sees that one is gone.
        for pid in list(pool._processes or {}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return mixture.unsqueeze(-1).repeat(1, 1, 2)

    write_librimix(tmp_path / "Libri2Mix", [8000] * 18)
    test_set = read_librimix(SETTINGS, tmp_path / "Libri2Mix", "test", None)
    check_files(test_set, quiet=True)
    with (
        EvaluationFolder(tmp_path / "out", {}, test_set.audio) as files,
        pytest.raises(UserError, match="a worker process was killed"),
    ):
        evaluation(separate, test_set, files).score(["sdr"], 1, pool, True)
