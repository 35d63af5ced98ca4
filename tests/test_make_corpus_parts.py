"""The parts of tools/make_corpus.py: rooms, voices, sentences, sounds."""

import numpy as np
import pytest
from corpus.audio import active_rms, resample
from corpus.options import load_tables
from corpus.rooms import reverberation_time, simulate_room
from corpus.sounds import EVENTS, SCENES, babble
from corpus.speech import BABBLE_VOICES, draw_sentence, load_words, split_of
from corpus.splits import deal
from corpus.voices import differ_clearly, draw_voices, load_variants, speak
from scipy.signal import butter, sosfiltfilt

SPLITS = ("train", "val", "test")
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


def test_rooms_leave_out_the_direct_path():
    for seed in range(3):
        room = simulate(seed)
        delays = ("preDelay1", "preDelay2", "preDelayForEvent")
        for response, name in zip(room.responses, delays, strict=True):
            # The first reflection comes after the pre-delay; only the
            # fractional-delay filter's ripple may be before it.
            first = round(room.parameters[name] * 8000)
            assert first > 4
            assert np.abs(response[: first - 4]).max() < 0.03
            assert np.abs(response[first - 3 : first + 4]).max() > 0.1


def test_decay_column_follows_the_measured_reverberation_time():
    room = simulate()
    assert room.parameters["decay"] == pytest.approx(1 - room.rt60 / 2)


def test_freq_damp_shortens_high_frequencies():
    def ratio(damp):
        room = simulate(freq_damp=[damp, damp])
        high, low = (
            band_rt60(room.responses[0], *band)
            for band in ((2000, 3500), (150, 500))
        )
        return high / low

    assert ratio(0.6) < 0.75 * ratio(0.0)


def test_high_cut_removes_high_frequencies():
    def share_above(cut):
        response = simulate(high_cut=[cut, cut]).responses[0]
        spectrum = np.abs(np.fft.rfft(response)) ** 2
        frequencies = np.fft.rfftfreq(len(response), 1 / 8000)
        return spectrum[frequencies > 2500].sum() / spectrum.sum()

    assert share_above(1500) < 0.3 * share_above(8000)


def test_diffusion_scatters_reflections():
    plain, scattered = (
        simulate(diffusion=[d, d]).responses[0] for d in (0.0, 1.0)
    )
    n = min(len(plain), len(scattered))
    assert np.abs(plain[:n] - scattered[:n]).max() > 0.05


def test_rooms_work_at_other_sample_rates():
    room = simulate(sample_rate=16000)
    assert room.rt60 == pytest.approx(0.5, rel=0.5)
    first = round(room.parameters["preDelay1"] * 16000)
    assert np.abs(room.responses[0][first - 3 : first + 4]).max() > 0.1


def test_sentences_are_many_and_never_shared():
    rng = np.random.default_rng(0)
    drawn = {s: {draw_sentence(rng, s) for _ in range(300)} for s in SPLITS}
    for split, sentences in drawn.items():
        assert len(sentences) > 280
        assert {split_of(sentence) for sentence in sentences} == {split}
        for sentence in sentences:
            assert sentence[0].isupper() and sentence[-1] in ".?"
            assert "  " not in sentence


def test_words_have_all_their_forms():
    words = load_words()
    for verb in words["verbs"]:
        masculine, feminine, virile, infinitive = verb["forms"]
        assert feminine.endswith("ła") and virile.endswith("li")
        assert masculine.endswith("ł") and infinitive.endswith(("ć", "c"))
    for verb in words["accidents"]:
        assert len(verb["forms"]) == 3


def median_f0(waveform, sample_rate):
    """The median of the autocorrelation's best lag over voiced frames."""
    frame = sample_rate // 12
    estimates = []
    for start in range(0, len(waveform) - frame, frame // 2):
        piece = waveform[start : start + frame]
        piece = piece - piece.mean()
        if np.std(piece) < 0.5 * np.std(waveform):
            continue
        power = np.abs(np.fft.rfft(piece, 2 * frame)) ** 2
        correlation = np.fft.irfft(power)[:frame]
        correlation /= correlation[0] * np.linspace(1, 0.1, frame)
        low, high = sample_rate // 420, sample_rate // 60
        best = correlation[low:high].max()
        lags = np.arange(low, high)
        near = lags[correlation[low:high] > 0.9 * best]
        if best > 0.5:
            estimates.append(sample_rate / near[0])
    return np.median(estimates)


def test_voices_speak_at_the_pitch_that_their_name_promises():
    voices = draw_voices("test", 1000, np.random.default_rng(0))
    voices = sorted(voices, key=lambda voice: voice.f0)[::6]
    measured = []
    for voice in voices:
        rng = np.random.default_rng(0)
        spoken = speak(voice, [draw_sentence(rng, "test")] * 2, rng, 8000)
        waveform = np.concatenate([sentence.waveform for sentence in spoken])
        assert active_rms(waveform, 8000) == pytest.approx(1.0, rel=0.1)
        measured.append(median_f0(waveform, 8000))
    intended = [voice.f0 for voice in voices]
    assert np.corrcoef(np.log(intended), np.log(measured))[0, 1] > 0.9
    assert max(measured) / min(measured) > 2.5


def test_voices_of_different_splits_have_different_variants():
    variants = {
        split: {v.variant for v in draw_voices(split, 1000, rng)}
        for split in SPLITS
        for rng in [np.random.default_rng(0)]
    }
    assert len(set.union(*variants.values())) == len(load_variants())
    assert sum(map(len, variants.values())) == len(load_variants())
    assert all(len(names) > BABBLE_VOICES for names in variants.values())


def test_voices_that_differ_clearly_do():
    voices = draw_voices("train", 60, np.random.default_rng(0))
    for one in voices:
        others = [other for other in voices if differ_clearly(one, other)]
        assert len(others) > 20
        assert one not in others


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_steady_and_where_speech_is(name):
    rng = np.random.default_rng(0)
    people = [rng.standard_normal(8000) for _ in range(3)]
    first, second = (
        SCENES[name](rng, 80000, 8000, lambda n: babble(rng, 80000, people, n))
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
    for name, event in EVENTS.items():
        first, second = (event(np.random.default_rng(i), 8000) for i in (1, 2))
        for waveform in (first, second):
            assert np.abs(waveform).max() == pytest.approx(1.0), name
            assert 0.05 < len(waveform) / 8000 < 4.0, name
        n = min(len(first), len(second))
        assert not np.allclose(first[:n], second[:n])


def test_every_embedded_scene_and_event_is_in_the_tables():
    tables = load_tables()
    fitting = tables.fitting_events(SCENES, EVENTS)
    assert all(len(events) >= 3 for events in fitting.values())
    used = {event for events in fitting.values() for event in events}
    assert used == set(EVENTS)
    indoor = [name for name in SCENES if tables.room_of(name)]
    assert len(indoor) == len(SCENES) / 2


@pytest.mark.parametrize("n_items", [1, 2, 3, 5, 6, 17, 100])
@pytest.mark.parametrize("minimum", [1, 2])
def test_items_are_dealt_once_each(n_items, minimum):
    for sizes in ((200, 40, 40), (2, 2, 2), (1, 500, 500)):
        dealt = deal(
            list(range(n_items)),
            dict(zip(SPLITS, sizes, strict=True)),
            minimum,
            np.random.default_rng(0),
        )
        everything = sum(dealt.values(), [])
        assert len(everything) == len(set(everything))
        if n_items >= 3 * minimum:
            assert sorted(everything) == list(range(n_items))
            assert min(map(len, dealt.values())) >= minimum


def test_resampling_keeps_what_both_rates_can_hold():
    time = np.arange(44100) / 44100
    tone = np.sin(2 * np.pi * 1000 * time) + np.sin(2 * np.pi * 9000 * time)
    low = resample(tone, 44100, 8000)
    expected = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    assert np.abs(low - expected)[400:-400].max() < 0.02
