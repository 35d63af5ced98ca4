"""What the tests share: threads, and a small corpus."""

import os
import shutil
import signal
import sys

import export
import pytest
import torch
from filelock import FileLock
from small_corpus import write_small_corpus
from small_exports import MASKING
from small_runs import run

import speechbrain as sb

# The tests' tensors are tiny: more threads only wait for each other.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# A shell that starts the tests in the background lets them ignore Ctrl-C, and
# what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# It asks pip for all versions, which takes longer than a small training.
sb.utils.logger.get_environment_description = str


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Keep what a YAML file makes where it is loaded out of the clone."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def keep_the_path(monkeypatch):
    """Take away what an exported model puts into Python's path."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Make a folder once, for all processes that pytest-xdist tests in."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def make_once(name, make):
        folder = shared / "shared" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = folder.with_name(f"{folder.name}.made")
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                made.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def small_corpus(made_once):
    """Write a corpus for tests that do not change it."""
    return made_once(
        "corpora/PolSESS_small",
        lambda root: write_small_corpus(
            root, {"train": 10, "val": 4, "test": 4}
        ),
    )


@pytest.fixture(scope="session")
def trained_runs(small_corpus, made_once):
    """Train small models for tests that do not change the runs' folders."""

    def trained(model):
        options = {"ema_decay": 0.5} if model == "dprnn" else {}
        return made_once(
            f"runs/{model}",
            lambda folder: run(model, small_corpus, folder, **options),
        )

    return trained


@pytest.fixture(scope="session")
def exported(trained_runs, made_once):
    """Export small models as a user does; give the folders."""

    def export_once(model):
        onnx = ["--onnx"] if model in MASKING else []
        return made_once(
            f"exported/{model}",
            lambda output: export.main(
                [str(trained_runs(model)), str(output), *onnx]
            ),
        )

    return export_once


@pytest.fixture
def copied(exported, tmp_path):
    """Copy an exported model for a test that changes it."""
    return shutil.copytree(exported("convtasnet"), tmp_path / "model")
