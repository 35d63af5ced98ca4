"""Separating and scoring a test set."""

import contextlib
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from polsess.errors import UserError
from polsess.scoring.evaluation import Evaluation, score_estimates
from polsess.scoring.folder import EvaluationFolder
from polsess.scoring.metrics import compute_metric
from polsess.scoring.test_sets import check_files, read_librimix
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


def test_mixtures_wait_for_processes(tmp_path, monkeypatch):
    """Separation stops while too many estimates have not been scored."""
    monkeypatch.setattr("polsess.scoring.evaluation.WAITING", 1)
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
        evaluation(separate, test_set, files).score(
            ["sdr", "estoi"], batch_size=1, jobs=1, quiet=True
        )
        assert len(files.known) == 15
    # At most one waits: of each mixture three scores, its SI-SDR at once.
    assert all(count >= 3 * n - 2 for n, count in enumerate(known))


def kill_scoring_processes(mixture):
    """Kill the processes that this one has started, but for their server."""
    for pool in POOLS:
        for pid in list(pool._processes or {}):
            # The pool ends the others when it sees that one is gone.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return mixture.unsqueeze(-1).repeat(1, 1, 2)


POOLS = []


def test_a_killed_process_is_reported(tmp_path, monkeypatch):
    from polsess.scoring import evaluation as module

    class Pool(module.WorkerPool):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            POOLS.append(self)

    monkeypatch.setattr(module, "WorkerPool", Pool)
    write_librimix(tmp_path / "Libri2Mix", [8000] * 9)
    test_set = read_librimix(SETTINGS, tmp_path / "Libri2Mix", "test", None)
    check_files(test_set, quiet=True)
    with (
        EvaluationFolder(tmp_path / "out", {}, test_set.audio) as files,
        pytest.raises(UserError, match="a worker process was killed"),
    ):
        evaluation(kill_scoring_processes, test_set, files).score(
            ["sdr"], batch_size=1, jobs=1, quiet=True
        )
