"""The embedded scenes and events."""

import numpy as np
import pytest
from corpus.audio import Synthesiser
from corpus.sounds import SOUNDS


@pytest.mark.parametrize("name", SOUNDS["scenes"])
def test_scenes_are_steady_and_where_speech_is(name):
    rng = np.random.default_rng(0)
    people = [rng.standard_normal(8000) for _ in range(3)]
    first, second = (
        SOUNDS["scenes"][name](Synthesiser(rng, 8000, 80000, people), rng)
        for _ in range(2)
    )
    assert np.isfinite(first).all()
    assert np.sqrt(np.mean(first**2)) == pytest.approx(1.0)
    seconds = first.reshape(10, 8000)
    assert np.sqrt(np.mean(seconds**2, axis=1)).min() > 0.03
    power = np.abs(np.fft.rfft(first)) ** 2
    assert power[2000:].sum() > 0.3 * power.sum()  # above 200 Hz
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.3


def test_events_are_short_and_differ_each_time():
    for name, event in SOUNDS["events"].items():
        rngs = map(np.random.default_rng, (1, 2))
        first, second = (event(Synthesiser(rng, 8000), rng) for rng in rngs)
        for waveform in (first, second):
            assert np.abs(waveform).max() == pytest.approx(1.0), name
            assert 0.05 < len(waveform) / 8000 < 4.0, name
        n = min(len(first), len(second))
        assert not np.allclose(first[:n], second[:n])
