"""The files of a run."""

import json
import math
import subprocess
from pathlib import Path

import pytest
from polsess.errors import UserError
from polsess.files import read_json, write_atomically
from polsess.run_folder import (
    Curve,
    RunFiles,
    read_result,
    read_scores,
    read_settings,
    software_versions,
    write_on_main,
)


def test_a_repeated_epoch_replaces_what_came_after(tmp_path):
    curve = Curve(tmp_path / "curve.csv")
    for epoch in (1, 2, 3):
        curve.add({"epoch": epoch, "valid_si_sdr": float(epoch)})
    again = Curve(tmp_path / "curve.csv")
    again.add({"epoch": 2, "valid_si_sdr": 7.0})
    assert Curve(tmp_path / "curve.csv").rows == [
        {"epoch": 1, "valid_si_sdr": 1.0},
        {"epoch": 2, "valid_si_sdr": 7.0},
    ]


def test_nan_is_null_in_the_result(tmp_path):
    files = RunFiles(tmp_path)
    write_on_main(files.result, {"test": [{"si_sdr": math.nan, "count": 3}]})
    text = files.result.read_text()
    assert json.loads(text) == {"test": [{"si_sdr": None, "count": 3}]}


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "result.json"
    with pytest.raises(UserError, match="file/result.json: cannot be written"):
        write_atomically(path, "text")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("epoch,valid_si_sdr\n1,high\n", "could not convert"),
        ("epoch,valid_si_sdr\n2,1.5\n1,2.5\n", "its epochs do not rise"),
    ],
)
def test_a_damaged_curve_is_named(text, problem, tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path}: is damaged .*{problem}"):
        Curve(path)


@pytest.mark.parametrize("text", ["[]", '{"epochs_run": 1}', ""])
def test_a_damaged_result_is_named(text, tmp_path):
    assert read_result(tmp_path) is None
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match=r"result\.json: is damaged"):
        read_result(tmp_path)


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path):
    for path, problem in (
        (tmp_path / "typo.json", "No such"),
        (tmp_path, "Is a"),
    ):
        with pytest.raises(UserError, match=rf"{path}: cannot .*\({problem}"):
            read_json(path)


HEADER = "variant,si_sdr,si_sdr_mixture,si_sdr_improvement\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("variant,si_sdr\nC,1\n", "it has no column si_sdr_mixture"),
        (f"{HEADER}C,1,1,0\nC,1\n", "row 3 has 2 cells, not 4"),
        (f"{HEADER}C,1,x,0\n", "row 2, si_sdr_mixture: 'x' is no finite"),
        (f"{HEADER}C,1,1,0,2\n", "row 2 has 5 cells, not 4"),
    ],
)
def test_damaged_scores_are_named(text, problem, tmp_path):
    path = tmp_path / "test.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path}.*{problem}"):
        read_scores(path)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(UserError, match="is no run"):
        read_settings(tmp_path)


def test_versions_name_packages_and_commit():
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    versions = software_versions()
    assert versions["torch"].startswith("2.")
    commit = head.stdout.strip() if head.returncode == 0 else ""
    assert (versions["git_commit"] or "").removesuffix("-dirty") == commit
