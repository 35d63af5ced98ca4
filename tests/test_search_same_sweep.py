"""The file that the first of several trials writes."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time

import pytest
from polsess.errors import UserError
from polsess.search.trial import write_once
from small_models import SEPARATION

# Writes its number, on a file system without hard links.
WRITER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import search.same_sweep

def refuse(*arguments):
    raise PermissionError(1, "Operation not permitted")

os.link = refuse
print("ready", flush=True)
sys.stdin.readline()
search.same_sweep.write_once(Path("sweep.json"), {"writer": sys.argv[2]})
"""


def without_links(*arguments):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_of_two_that_write_once_the_first_counts(tmp_path, monkeypatch):
    path = tmp_path / "sweep.json"
    write_once(path, {"a": 1})
    write_once(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.json"]
    # The second has found none, and then there is one.
    monkeypatch.setattr(type(path), "exists", lambda self: False)
    write_once(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.json"]


def test_of_several_without_hard_links_one_counts(tmp_path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(SEPARATION), str(number)],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    # Both find no file, and wait for each other.
    with open(tmp_path / ".sweep.json.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        until = time.monotonic() + 30
        while len(list(tmp_path.glob(".sweep.json.*.*"))) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not (tmp_path / "sweep.json").exists()
    assert [writer.wait(30) for writer in writers] == [0, 0]
    assert json.loads((tmp_path / "sweep.json").read_text())["writer"] in "01"
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == [".sweep.json.lock", "sweep.json"]


def test_a_later_one_without_hard_links_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", without_links)
    path = tmp_path / "sweep.json"
    write_once(path, {"a": 1})
    write_once(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_neither_hard_links_nor_locks(tmp_path, monkeypatch):
    def without_locks(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(os, "link", without_links)
    monkeypatch.setattr(fcntl, "flock", without_locks)
    with pytest.raises(UserError, match=r"No locks.*give --sweep_folder") as e:
        write_once(tmp_path / "sweep.json", {"a": 1})
    assert str(tmp_path) in str(e.value)
    assert [p.name for p in tmp_path.iterdir()] == [".sweep.json.lock"]
