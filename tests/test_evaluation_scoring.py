"""Processes that score."""

import os
import signal

import numpy as np
import pytest
import torch
from polsess.errors import UserError
from polsess.scoring.evaluation import ENVIRONMENT, ScoringProcesses
from polsess.scoring.metrics import compute_metric
from polsess.scoring.test_sets import AtSampleRate, check_files, read_librimix
from test_evaluation_foreign_corpora import write_librimix


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    path = tmp_path / "work"
    path.write_text("")
    with (
        pytest.raises(UserError, match="work: cannot be made .File exists"),
        ScoringProcesses(None, 8000, 1, path),
    ):
        pass


def test_estimates_wait_for_processes(tmp_path):
    signals = write_librimix(tmp_path / "Libri2Mix", [8000] * 3)
    found = read_librimix(
        tmp_path / "Libri2Mix", "test", ["mix_both"], "SB", 8000
    )
    check_files(found, quiet=True)
    dataset = AtSampleRate(found.dataset, found.formats, 8000)
    before = dict(os.environ)
    work = tmp_path / "work"
    with ScoringProcesses(dataset, 8000, 1, work) as processes:
        assert ENVIRONMENT.items() <= os.environ.items()
        processes.limit = 0  # as if the disk were full
        waiting, rows = [], []
        for number, example in enumerate(found.examples):
            parts = signals[found.rows[example.row]["ID"]]
            estimates = np.stack([0.3 * parts["s1"], parts["mix_both"]], -1)
            arguments = (torch.from_numpy(estimates), ["sdr", "estoi"])
            rows += processes.submit(number, example, *arguments)
            waiting.append(len(list(work.glob("*.npy"))))
        rows += processes.finish()
        assert waiting == [1, 1, 1]
        assert list(work.iterdir()) == []
        # A process that is killed is told.
        for pid in processes.pool._processes:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(UserError, match="a scoring process was killed"):
            while True:
                list(processes.submit(9, example, *arguments))
                list(processes.finish())
    assert dict(os.environ) == before
    assert not work.exists()
    assert [row["metric"] for row in rows] == ["sdr", "estoi"] * 3
    parts = signals["u2"]
    scores, mixture, _ = compute_metric(
        "sdr",
        np.stack([parts["s1"], parts["mix_both"]]),
        np.stack([parts["s1"], parts["s2"]]),
        parts["mix_both"],
        8000,
    )
    assert rows[4]["scores"] == pytest.approx(scores, abs=1e-2)
    assert rows[4]["mixture"] == pytest.approx(mixture, abs=1e-3)
