"""Files that a resumed run finds in its folder."""

import json

import hypothesis.strategies as st
from damage import json_files
from hypothesis import given
from outcomes import attempt, files_of, new_folder
from polsess.errors import UserError
from polsess.run_folder import Curve, RunFiles
from polsess.training.reports import is_tested
from polsess.training.settings import TEST_SETTINGS, check_same_run

SETTINGS = {"lr": 0.001, "task": "SB", "curriculum": [{"epoch": 1}]}
SETTINGS |= {name: name for name in TEST_SETTINGS}
RESULT = {"best_valid_si_sdr": 2.5, "epochs_run": 1, "settings": SETTINGS}
RESULT |= {"best_epoch": 1, "seconds": 2.5}


@given(json_files(SETTINGS))
def test_settings(file):
    content, damaged = file
    with new_folder() as folder:
        files = RunFiles(folder)
        files.settings.write_bytes(content)
        _, message = attempt(
            lambda: check_same_run(files, SETTINGS), UserError, folder
        )
        assert damaged or message is None
        assert files_of(folder) == {files.settings: content}
        if message is None:  # then it says the same, as far as that matters
            found = json.loads(content)
            assert found["lr"] == 0.001 and found["task"] == "SB"


@given(json_files(RESULT), st.booleans())
def test_a_result(file, tested):
    content, damaged = file
    with new_folder() as folder:
        files = RunFiles(folder)
        files.result.write_bytes(content)
        if tested:
            files.scores.write_text("ID,si_sdr\n")
        curve = Curve(files.curve)
        curve.add({"epoch": 1, "valid_si_sdr": 2.5})
        complete, _ = attempt(
            lambda: is_tested(files, curve, SETTINGS), UserError, files.result
        )
        assert damaged or complete == tested
        assert not (complete and not tested)
