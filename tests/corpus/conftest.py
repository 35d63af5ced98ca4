"""A fresh corpus for each test that damages it."""

import pytest
from damaged_corpus import write_fresh_corpus


@pytest.fixture
def corpus(tmp_path):
    """Write a corpus to damage: its folder and its tables."""
    return write_fresh_corpus(tmp_path)
