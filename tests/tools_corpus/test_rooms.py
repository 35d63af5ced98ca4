"""Simulated rooms."""

import numpy as np
import pytest
from corpus.rooms import reverberation_time, simulate_room
from scipy.signal import butter, sosfiltfilt

ROOM = {
    "size": [[6.0, 6.0], [5.0, 5.0], [3.0, 3.0]],
    "rt60": [0.5, 0.5],
    "distance": [1.0, 1.2],
    "high_cut": [8000, 8000],
    "diffusion": [0.5, 0.5],
    "freq_damp": [0.0, 0.0],
}


def simulate(seed=0, sample_rate=8000, **ranges):
    rng = np.random.default_rng(seed)
    return simulate_room(ROOM | ranges, rng, sample_rate)


def band_rt60(response, low, high):
    """Reverberation time in a frequency band."""
    sos = butter(4, [low, high], "bandpass", fs=8000, output="sos")
    return reverberation_time(sosfiltfilt(sos, response), 8000)


def test_rooms_reverberate_as_long_as_wanted():
    short, long = (
        np.mean([simulate(i, rt60=[t, t]).rt60 for i in range(4)])
        for t in (0.25, 0.5)
    )
    assert short == pytest.approx(0.25, rel=0.35)
    assert long == pytest.approx(0.5, rel=0.35)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_rooms_leave_out_the_direct_path(rate):
    for seed in range(3):
        room = simulate(seed, rate)
        delays = ("preDelay1", "preDelay2", "preDelayForEvent")
        for response, name in zip(room.responses, delays, strict=True):
            # The first reflection comes after the pre-delay; only the
            # fractional-delay filter's ripple may be before it.
            first = round(room.parameters[name] * rate)
            assert first > 4
            assert np.abs(response[: first - 4]).max() < 0.03
            assert np.abs(response[first - 3 : first + 4]).max() > 0.1


def test_damping_and_cut_act_on_high_frequencies():
    def ratio(damp):
        room = simulate(freq_damp=[damp, damp])
        high, low = (
            band_rt60(room.responses[0], *band)
            for band in ((2000, 3500), (150, 500))
        )
        return high / low

    def share_above(cut):
        response = simulate(high_cut=[cut, cut]).responses[0]
        spectrum = np.abs(np.fft.rfft(response)) ** 2
        frequencies = np.fft.rfftfreq(len(response), 1 / 8000)
        return spectrum[frequencies > 2500].sum() / spectrum.sum()

    assert ratio(0.6) < 0.75 * ratio(0.0)
    assert share_above(1500) < 0.3 * share_above(8000)
