"""Counting how often speakers change places in the output."""

from bench_speaker_order import count_changes


def chunk(raw, output, decided=9.0, margin=1.0):
    """Make a row of a chunk."""
    return {
        "decided": decided,
        "raw": raw,
        "output": output,
        "margin": margin,
    }


def first(raw, output, decided=9.0):
    """Make a row of a mixture's first chunk."""
    return chunk(raw, output, decided, margin=None)


def test_changes_of_the_output_and_of_the_network_are_distinguished():
    mended = [first(False, False), chunk(True, False), chunk(False, False)]
    faulty = [first(True, True), chunk(True, False), chunk(True, False)]
    counts = count_changes([mended, faulty])
    assert counts == {
        "chunks": 6,
        "undecided": 0,
        "steps": 4,
        "uncertain": 0,
        "changes of the network": 2,
        "changes": 1,
        "changes, uncertain": 0,
    }


def test_an_undecided_chunk_is_stepped_over_but_its_margin_counts():
    mixture = [
        first(False, False),
        chunk(True, True, decided=0.9, margin=0.05),
        chunk(False, True),
        chunk(False, True, margin=0.09),
        chunk(False, True, decided=0.1),
    ]
    counts = count_changes([mixture])
    assert counts["chunks"] == 5
    assert counts["undecided"] == 2
    assert counts["steps"] == counts["uncertain"] == 2
    assert counts["changes of the network"] == 0
    assert counts["changes"] == counts["changes, uncertain"] == 1
