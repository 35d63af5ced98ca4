"""What the tests of hunts share."""

import pytest
from experiments import hunting
from small_hunts import STAND_IN


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a stand-in in the place of train.py; return its folder."""
    folder = tmp_path / "stand_in"
    folder.mkdir()
    (folder / "train.py").write_text(STAND_IN)
    monkeypatch.setattr(hunting, "SEPARATION", folder)
    return folder
