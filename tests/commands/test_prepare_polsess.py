"""Options, and the command line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from polsess.corpus.manifests import prepare_polsess
from polsess.corpus.metadata import SPLITS
from polsess.errors import UserError

RECIPE = Path(__file__).parents[2] / "recipes/PolSESS"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"check": "thorough"}, "check 'thorough': give one of"),
        ({"on_error": "ignore"}, "on_error 'ignore': give one of"),
        ({"duplicates": "no"}, "duplicates 'no': give one of"),
        ({"subset_sizes": [4, 0]}, r"no subsets of \[0, 4\]"),
    ],
)
def test_options_without_meaning(small_corpus, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        prepare_polsess(small_corpus, tmp_path / "save", **options)


def test_save_folder_that_cannot_be_written(small_corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        prepare_polsess(small_corpus, tmp_path / "file")


# Command line


def run_script(*arguments, folder=RECIPE, cwd=None):
    return subprocess.run(
        [sys.executable, folder / "prepare_polsess.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def test_command_line(small_corpus, tmp_path):
    arguments = (small_corpus, tmp_path / "save", "--subset_sizes", 4, 8)
    done = run_script(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    title, header, *rows = done.stdout.splitlines()
    assert title == "Mixtures of 0.5 s at 8000 Hz:"
    table = pd.DataFrame(map(str.split, rows)).set_index(0).astype(int)
    table.columns = header.split()
    assert list(table.index) == list(SPLITS)
    assert list(table.rows) == [10, 4, 4] and list(table.SER) == [5, 2, 2]
    # Through the symlink, from elsewhere, a second time.
    again = run_script(*arguments, folder=RECIPE / "separation", cwd="/")
    first, *rest = again.stdout.splitlines()
    assert first == f"'{tmp_path / 'save'}' is up to date."
    assert rest == done.stdout.splitlines()


def test_command_line_reports_errors_without_a_traceback(
    small_corpus, tmp_path
):
    corpus = shutil.copytree(small_corpus, tmp_path / small_corpus.name)
    shutil.rmtree(corpus / "val" / "clean")
    failed = run_script(corpus, tmp_path / "save", "--check", "headers")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith(
        f"Error: Corpus '{corpus}': findings: 8, in 4"
    )
    assert "Traceback" not in failed.stderr
    options = ["--on_error", "drop", "--subset_sizes", "13"]
    failed = run_script(corpus, tmp_path / "save", *options)
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: No good row in 'val'")
    wrong = run_script(corpus, tmp_path / "save", "--check", "all")
    assert wrong.returncode == 2 and "invalid choice: 'all'" in wrong.stderr
