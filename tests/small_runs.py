"""Whole trainings of small models, for tests."""

import sys

import torch
import train
from small_models import SEPARATION, small_arguments

from speechbrain.utils.checkpoints import Checkpointer

# Dynamic mixing and augmentation, all of it
CHANGES = {
    "dynamic_mixing": 0.8,
    "remix_rooms": "any",
    "remix_shift": 0.05,
    "speed_perturbation": "[90, 100, 110]",
    "gain_perturbation": 3,
    "drop_frequencies": 2,
    "drop_chunks": 2,
}


def run(model, corpus, folder, **options):
    """Train in this process; return the output folder."""
    train.main(
        small_arguments(
            model, data_folder=corpus, output_folder=folder, **options
        )
    )
    return folder


def weights(folder):
    """Read the newest checkpoint's weights."""
    newest = Checkpointer(folder / "save").find_checkpoint()
    return torch.load(newest.paramfiles["separator"])


def assert_same_weights(first, second):
    """Compare two runs' newest weights, bit by bit."""
    first, second = weights(first), weights(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def command(*arguments):
    """Make a command line of train.py."""
    return [sys.executable, str(SEPARATION / "train.py"), *arguments]
