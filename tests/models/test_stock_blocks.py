"""Runs that change between SpeechBrain's blocks and our faster ones."""

import shutil

import pytest
import torch
import train
from small_models import HPARAMS, small_arguments
from small_runs import weights

from speechbrain.utils.checkpoints import Checkpointer

MODELS = "speechbrain.lobes.models"
STOCK = {
    "convtasnet": (
        "polsess.models.convtasnet.MaskNet",
        f"{MODELS}.conv_tasnet.MaskNet",
    ),
    "sepformer": (
        "polsess.models.sepformer.TransformerBlock",
        f"{MODELS}.dual_path.SBTransformerBlock\n  norm_before: True",
    ),
}


@pytest.fixture
def train_with(small_corpus, tmp_path):
    """Give what trains with one kind of blocks."""

    def train_one(model, kind, folder, epochs):
        arguments = small_arguments(
            model,
            data_folder=small_corpus,
            output_folder=folder,
            number_of_epochs=epochs,
            train_size=6,
            test_variants="[SER]",
        )
        if kind == "stock":
            ours, stock = STOCK[model]
            text = (HPARAMS / f"{model}.yaml").read_text()
            assert ours in text
            arguments[0] = str(tmp_path / f"stock_{model}.yaml")
            with open(arguments[0], "w") as file:
                file.write(text.replace(f"!new:{ours}", f"!new:{stock}"))
        train.main(arguments)

    return train_one


def steps(folder):
    """Read how many steps the newest checkpoint's optimiser has made."""
    newest = Checkpointer(folder / "save").find_checkpoint()
    state = torch.load(newest.paramfiles["optimizer"])["state"]
    return {int(one["step"]) for one in state.values()}


def distance(first, second):
    """Measure how far apart two state dicts are."""
    return sum(
        (first[name] - second[name]).square().sum().item() for name in first
    )


@pytest.mark.parametrize("model", STOCK)
@pytest.mark.parametrize("kinds", [("stock", "ours"), ("ours", "stock")])
def test_a_run_goes_on_with_the_other_blocks(
    model, kinds, train_with, tmp_path
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_with(model, kinds[0], whole, 1)
    before, steps_before = weights(whole), steps(whole)
    shutil.copytree(whole, parts)
    train_with(model, kinds[0], whole, 2)
    train_with(model, kinds[1], parts, 2)
    # Apart by rounding, of which Adam makes more than it was, but by far not
    # by what an epoch changes; without the optimiser's state they would be.
    moved = distance(before, weights(whole))
    assert distance(weights(whole), weights(parts)) < 1e-4 * moved
    assert steps(parts) == steps(whole) == {2 * n for n in steps_before}
