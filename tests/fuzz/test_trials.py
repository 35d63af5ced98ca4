"""Tables and folders of trials: selected from, or nothing is written."""

import json

import hypothesis.strategies as st
import numpy as np
from damage import csv_files, json_files
from experiments.finalists import select_finalists
from experiments.trials import (
    COLUMNS,
    pool_trials,
    read_stages,
    read_table,
    read_trials,
)
from hypothesis import given
from outcomes import attempt, files_of, new_file, new_folder
from polsess.errors import UserError
from polsess.run_folder import FINISHED
from polsess.search.sweep import SWEEPS, read_sweep_file
from small_trials import PARAMETERS, write_trial

ROWS = [
    [*COLUMNS, "lr", "lr_patience"],
    ["a-1", "stage3a", "finished", "2.5", "0.001", "2"],
    ["a-2", "stage3a", "stopped", "1.5", "0.002", "3"],
    ["a-3", "stage3a", "failed", "", "0.003", "1"],
    ["b-1", "stage3b", "finished", "3.5", "0.004", "5"],
    ["b-2", "stage3b", "finished", "3.25", "0.0005", "1"],
    ["b-3", "stage3b", "running", "", "", ""],
]
STAGE = read_sweep_file(SWEEPS / "dprnn_stage1_hpopt.yaml")


@given(csv_files(ROWS), st.sampled_from([None, ["lr"], ["lr", "lr_patience"]]))
def test_a_table(file, parameters):
    content, damaged = file
    with new_file("trials.csv", content) as path:
        trials, _ = attempt(
            lambda: read_table(path, parameters), UserError, path
        )
        assert damaged or len(trials.pool) == 3
        if trials is None:
            return
        assert (trials.pool["status"] == FINISHED).all()
        values = trials.pool[trials.parameters].to_numpy(float)
        assert np.isfinite(values).all()
        selection, _ = attempt(
            lambda: select_finalists(trials, 2), UserError, path
        )
        best = trials.pool["name"][0]
        assert selection is None or selection["name"][0] == best


@given(st.data())
def test_a_trial_of_a_sweep(data):
    with new_folder() as folder:
        sweep = folder / "dprnn-stage1"
        write_trial(sweep, 1, PARAMETERS, 2.5)
        trial = write_trial(sweep, 2, PARAMETERS, 3.5)
        path = trial / "trial.json"
        content, damaged = data.draw(json_files(json.loads(path.read_text())))
        if data.draw(st.booleans()):
            path.unlink()
            path = trial / "settings.json"
        path.write_bytes(content)
        before = files_of(folder)
        trials, _ = attempt(
            lambda: read_trials(STAGE, folder), UserError, trial
        )
        assert damaged or len(trials) == 2
        if trials:
            assert len(read_stages([STAGE], folder)) == 2
            attempt(lambda: pool_trials([STAGE], folder), UserError, folder)
        assert files_of(folder) == before
