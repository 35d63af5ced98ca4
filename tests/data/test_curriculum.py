"""The curriculum's stages, and its errors."""

import pytest
from polsess.data.curriculum import Curriculum
from polsess.errors import UserError

STAGES = [
    {"epoch": 1, "variants": ["C", "R"], "lr_scheduler": False},
    {"epoch": 3, "variants": ["C", "R", "SR", "S"], "lr_scheduler": False},
    {"epoch": 5, "variants": ["R", "SER", "SE"], "lr_scheduler": True},
]


def test_a_stage_holds_until_the_next():
    curriculum = Curriculum(STAGES)
    first_epochs = [curriculum.at(epoch)["epoch"] for epoch in range(1, 8)]
    assert first_epochs == [1, 1, 3, 3, 5, 5, 5]


def changed(**values):
    """Return one stage with other values."""
    return [{**STAGES[0], **values}]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "at least one stage"),
        ("C", "at least one stage"),
        ([{"epoch": 1}], "stage 1: give exactly epoch, lr_scheduler, variants"),
        (changed(epochs=1), "give exactly"),
        (changed(epoch=0), "epoch 0 is not a number from 1"),
        (changed(epoch="1"), "epoch '1' is not a number"),
        (changed(lr_scheduler="off"), "'off' is not True or False"),
        (changed(variants=["SRE"]), "'SRE' is not one of SER, SR"),
        (changed(variants=[]), "is not a list"),
        (changed(variants="C"), "is not a list"),
        (changed(variants=["C", "C"]), "names one twice"),
        (STAGES[1:], "the first must be 1"),
        ([STAGES[0], STAGES[2], STAGES[1]], "each later one higher"),
    ],
)
def test_errors_name_stage_and_value(stages, message):
    with pytest.raises(UserError, match=message):
        Curriculum(stages)
