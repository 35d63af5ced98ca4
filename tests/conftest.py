"""What the tests share: threads, and a small corpus."""

import os

import pytest
import torch
from small_corpus import write_small_corpus
from small_runs import run

# The tests' tensors are tiny: more threads only wait for each other.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Keep what a YAML file makes where it is loaded out of the clone."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory):
    """Write a corpus for tests that do not change it."""
    root = tmp_path_factory.mktemp("corpora") / "PolSESS_small"
    write_small_corpus(root, {"train": 10, "val": 4, "test": 4})
    return root


@pytest.fixture(scope="session")
def trained_runs(small_corpus, tmp_path_factory):
    """Train small models for tests that do not change the runs' folders."""
    folders = {}

    def trained(model):
        if model not in folders:
            folder = tmp_path_factory.mktemp("runs") / model
            options = {"ema_decay": 0.5} if model == "dprnn" else {}
            folders[model] = run(model, small_corpus, folder, **options)
        return folders[model]

    return trained
