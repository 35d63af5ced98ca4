"""tools/make_corpus.py, killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_made_corpora import TOOL, hash_files, make
from small_recordings import write_recordings


def children_of(pid):
    """All processes below one, Linux only."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    pids = [int(p) for p in path.read_text().split()] if path.exists() else []
    return pids + [p for child in pids for p in children_of(child)]


def is_running(pid):
    path = Path(f"/proc/{pid}/stat")
    return (
        path.exists() and path.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    )


@pytest.fixture(scope="module")
def whole_corpus(tmp_path_factory):
    """A corpus that nothing disturbed, and how it was made."""
    folder = tmp_path_factory.mktemp("whole")
    sizes = ("--train", "60", "--valid", "2", "--test", "2")
    arguments = [*sizes, *write_recordings(folder)]
    make(folder / "corpus", *arguments, "--jobs", "1")
    return folder / "corpus", arguments


@pytest.mark.parametrize("stage", ["rooms", "rows"])
def test_a_killed_run_is_completed_by_the_same_command(
    whole_corpus, tmp_path, stage
):
    whole, arguments = whole_corpus
    root = tmp_path / "corpus"
    command = [sys.executable, str(TOOL), str(root), *arguments, "--jobs", "2"]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any((root / ".make_corpus" / stage).rglob("*.*")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    workers = children_of(run.pid)
    run.send_signal(signal.SIGKILL)
    run.wait()
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list(root.rglob("corpus_*.csv"))
    # What a run that dies while it writes leaves behind.
    (root / ".make_corpus/tmp/1234-torn.wav").write_bytes(b"RIFF")
    make(root, *arguments, "--jobs", "1")
    assert hash_files(root) == hash_files(whole)
