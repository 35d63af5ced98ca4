"""Where the Mamba layer's compiled code is kept."""

from pathlib import Path

import numpy as np
from polsess.models.mamba import compiled


def test_compiled_code_is_kept_apart_for_each_state_of_the_files(monkeypatch):
    folders = compiled.cache_folders()
    assert folders == compiled.cache_folders()
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"changed")
    assert not set(folders) & set(compiled.cache_folders())
    # It is where it is looked for.
    assert any(folders[0].rglob("*scan_backward*.nbi"))


def test_where_nothing_can_be_kept_it_is_compiled_anyway(monkeypatch):
    monkeypatch.setattr(
        compiled, "cache_folders", lambda: [Path("/dev/null/kernels")]
    )

    @compiled.compiled
    def double(numbers):
        for i in range(numbers.size):
            numbers[i] *= 2

    numbers = np.ones(2)
    double(numbers)
    assert list(numbers) == [2, 2]
