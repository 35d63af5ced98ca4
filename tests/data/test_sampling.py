"""The curriculum; order, variants and segments of the examples."""

from collections import Counter

import pytest
from polsess.data.sampling import (
    TrainingBatches,
    all_examples,
    check_curriculum,
    fixed_examples,
)
from polsess.errors import UserError

ROWS = [
    {
        "ID": f"mixture{number}",
        "environment": "indoor" if number % 3 else "outdoor",
        "duration": "4.0",
    }
    for number in range(60)
]
STAGES = [
    {"epoch": 1, "variants": ["C", "R"], "lr_scheduler": False},
    {"epoch": 3, "variants": ["S", "E", "SE"], "lr_scheduler": True},
]


def make_batches(rows=ROWS, stages=None, size=None, segment=None, seed=1):
    """Make batches of eight."""
    return TrainingBatches(rows, stages or STAGES, seed, 8, size, segment, 8000)


def epoch_of(batches, epoch):
    """List an epoch's examples."""
    batches.set_epoch(epoch)
    return [example for batch in batches for example in batch]


def test_every_row_once_an_epoch():
    batches = make_batches()
    for epoch in (1, 2):
        rows = [example.row for example in epoch_of(batches, epoch)]
        assert sorted(rows) == list(range(60))
        assert len(batches) == len(list(batches)) == 8  # 7 of 8, one of 4


def test_rows_and_variants_follow_the_curriculum():
    examples = epoch_of(make_batches(), 1)
    drawn = {(ROWS[e.row]["environment"], e.variant) for e in examples}
    assert drawn == {("indoor", "C"), ("indoor", "R"), ("outdoor", "C")}
    examples = epoch_of(make_batches(), 4)
    assert sorted(e.row for e in examples) == list(range(0, 60, 3))
    assert {e.variant for e in examples} == {"S", "E", "SE"}


def test_draws_depend_on_seed_epoch_and_id_alone():
    examples = {e.row: e for e in epoch_of(make_batches(segment=16000), 2)}
    moved = list(reversed(ROWS))
    again = make_batches(moved, segment=16000)
    for example in epoch_of(again, 2):
        twin = examples[59 - example.row]
        assert (twin.variant, twin.start) == (example.variant, example.start)


def test_other_seed_or_epoch_draws_otherwise():
    first = epoch_of(make_batches(), 1)
    for batches, epoch in ((make_batches(), 2), (make_batches(seed=2), 1)):
        other = epoch_of(batches, epoch)
        assert [e.row for e in other] != [e.row for e in first]
        assert {e[:2] for e in other} != {e[:2] for e in first}


def test_variants_are_drawn_evenly():
    stages = [{"epoch": 1, "variants": ["S", "E", "SE"], "lr_scheduler": True}]
    batches = make_batches(stages=stages)
    counts = Counter(
        example.variant
        for epoch in range(1, 151)
        for example in epoch_of(batches, epoch)
    )
    # 3000 draws: 1000 of each, give or take five standard deviations.
    assert all(abs(count - 1000) < 130 for count in counts.values())
    assert len(counts) == 3


def test_size_counts_the_compatible_rows_in_order():
    batches = make_batches(size=10)
    assert {e.row for e in epoch_of(batches, 1)} == set(range(10))
    # Outdoor rows only: every third.
    assert {e.row for e in epoch_of(batches, 3)} == set(range(0, 30, 3))


def test_segments_lie_within_the_mixture():
    batches = make_batches(segment=16000)
    starts = [
        e.start for epoch in range(1, 20) for e in epoch_of(batches, epoch)
    ]
    assert min(starts) >= 0
    assert max(starts) <= 16000
    assert max(starts) - min(starts) > 15000
    long = make_batches(segment=40000)
    assert {e.start for e in epoch_of(long, 1)} == {0}


def test_too_few_rows_are_reported_before_training():
    with pytest.raises(UserError, match="21 mixtures.*only 20 of the 60"):
        make_batches(size=21)
    indoor = [row for row in ROWS if row["environment"] == "indoor"]
    with pytest.raises(UserError, match="none of the 40 rows.*'S', 'E', 'SE'"):
        make_batches(indoor)


def test_validation_takes_one_variant_a_row():
    examples = fixed_examples(ROWS, ["SER", "SE"])
    assert [e.row for e in examples] == list(range(60))
    assert [e.variant for e in examples[:3]] == ["SE", "SER", "SER"]
    clean = fixed_examples(ROWS, ["C", "SER", "SE"])
    assert {e.variant for e in clean} == {"C"}


def test_test_renders_every_variant():
    examples = all_examples(ROWS, ["SER", "SR", "ER", "R", "SE", "S", "E", "C"])
    assert len(set(examples)) == len(examples) == 40 * 5 + 20 * 4


CURRICULUM = [
    {"epoch": 1, "variants": ["C", "R"], "lr_scheduler": False},
    {"epoch": 3, "variants": ["C", "R", "SR", "S"], "lr_scheduler": False},
    {"epoch": 5, "variants": ["R", "SER", "SE"], "lr_scheduler": True},
]


def test_a_stage_holds_until_the_next():
    check_curriculum(CURRICULUM, "curriculum")
    batches = make_batches(stages=CURRICULUM)
    first_epochs = []
    for epoch in range(1, 8):
        batches.set_epoch(epoch)
        first_epochs.append(batches.stage["epoch"])
    assert first_epochs == [1, 1, 3, 3, 5, 5, 5]


def changed(**values):
    """Return one stage with other values."""
    return [{**CURRICULUM[0], **values}]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "at least one stage"),
        ("C", "at least one stage"),
        ([{"epoch": 1}], "stage 1: .*: give epoch, a whole number from 1"),
        (changed(epochs=1), "give epoch"),
        (changed(epoch=0), "'epoch': 0, .*: give epoch, a whole number"),
        (changed(epoch="1"), "'epoch': '1', .*: give epoch"),
        (changed(lr_scheduler="off"), "'off'.*: give epoch, .* True or False"),
        (changed(variants=["SRE"]), "'SRE' .*is not one of SER, SR"),
        (changed(variants=[]), "is not a list"),
        (changed(variants="C"), "is not a list"),
        (changed(variants=["C", "C"]), "'C' is there twice"),
        (CURRICULUM[1:], "the first must be 1"),
        (
            [CURRICULUM[0], CURRICULUM[2], CURRICULUM[1]],
            "each later one higher",
        ),
    ],
)
def test_errors_name_stage_and_value(stages, message):
    with pytest.raises(UserError, match=message):
        check_curriculum(stages, "curriculum")
