"""Where Orion's database is, and one that cannot be used."""

from pathlib import Path

import pytest
from experiments.database import storage_variables
from filelock import FileLock
from polsess.errors import UserError
from small_trials import PARAMETERS, write_trial, written_stage
from sweep import main


def test_the_storage_in_orion_s_environment(tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text(
        "storage: {type: legacy, database: {type: mongodb, name: lab, "
        "host: 'mongodb://me:secret@server', port: 27017}}"
    )
    assert storage_variables(Path("a.pkl"), path) == {
        "ORION_STORAGE_TYPE": "legacy",
        "ORION_DB_TYPE": "mongodb",
        "ORION_DB_NAME": "lab",
        "ORION_DB_ADDRESS": "mongodb://me:secret@server",
        "ORION_DB_PORT": "27017",
    }
    path.write_text("storage: {database: {type: mongodb, user: me}}")
    with pytest.raises(UserError, match="database: user: give type, name"):
        storage_variables(Path("a.pkl"), path)


def test_a_database_that_cannot_be_used_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.database.LOCK_SECONDS", 0.1)
    own = written_stage(tmp_path / "own")
    command = ["run", "dprnn", "stage1", "--data_folder", ".", "--output"]
    command += ["out", "--sweeps", str(own)]
    write_trial(tmp_path / "out/dprnn-stage1", 1, PARAMETERS, 1.0)
    with pytest.raises(
        UserError, match=r"dprnn\.pkl: .*Was the database moved\?"
    ):
        main(command)
    Path("out/dprnn.pkl").write_bytes(b"")
    with (
        FileLock("out/dprnn.pkl.lock"),
        pytest.raises(UserError, match=r"dprnn\.pkl: is locked for"),
    ):
        main(command)
