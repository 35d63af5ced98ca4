"""Dynamic mixing and augmentation against sums, levels and rules by hand."""

import random

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from polsess.corpus.manifests import SPEAKERS, name_speakers, prepare_polsess
from polsess.data.augmentation import (
    Augmentation,
    Changes,
    Material,
    Part,
    Remix,
    mix_anew,
)
from polsess.data.dataset import (
    Example,
    RenderedMixtures,
    read_manifest,
    read_speakers,
)
from polsess.errors import UserError
from scipy.signal import resample_poly
from small_corpus import write_small_corpus

from speechbrain.augment.time_domain import DropFreq

RATE = 8000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Rows and speakers of a small corpus."""
    folder = tmp_path_factory.mktemp("augmentation")
    root = folder / "PolSESS_T"
    write_small_corpus(root, {"train": 16, "val": 1, "test": 1})
    prepare_polsess(root, folder)
    rows = read_manifest(folder / "train_all.csv", root)
    return rows, read_speakers(folder / SPEAKERS)


def stored(row, name):
    """Read a component as 16-bit integers."""
    return soundfile.read(row[f"{name}_wav"], dtype="int16")[0].astype(float)


def decibels(signal, reference):
    """Level of a signal above another."""
    return 20 * np.log10(np.linalg.norm(signal) / np.linalg.norm(reference))


REMIX = Remix(
    (Part(0, "s2"), Part(2, "s1")), Part(4, "scene"), Part(4, "event"), (3,), -6
)


@pytest.mark.parametrize("variant", ["SER", "SR", "ER", "R", "C"])
@pytest.mark.parametrize("task", ["SB", "ES", "EB"])
def test_sums_and_levels_are_those_of_the_definition(prepared, variant, task):
    rows, _ = prepared
    dataset = RenderedMixtures(rows, task, augmentation=Augmentation(RATE))
    item = dataset[Example(6, variant, changes=Changes(REMIX, 0.0, 0))]
    one, two = stored(rows[0], "s2"), stored(rows[2], "s1")
    gain = 10 ** (-3 / 20) * np.linalg.norm(one) / np.linalg.norm(two)
    scene = stored(rows[4], "scene")
    scene *= 10 ** (-6 / 20) * np.linalg.norm(one + gain * two)
    scene /= np.linalg.norm(stored(rows[4], "scene"))
    mixture = one + (gain * two if task != "ES" else 0)
    if "R" in variant:
        mixture = mixture + stored(rows[0], "s2_reverb")
        if task != "ES":
            mixture = mixture + gain * stored(rows[2], "s1_reverb")
    if "S" in variant:
        mixture = mixture + scene
    if "E" in variant:
        event = stored(rows[4], "event") + stored(rows[4], "event_reverb")
        mixture = mixture + event
    targets = {"SB": [one, gain * two], "ES": [one], "EB": [one + gain * two]}
    np.testing.assert_allclose(2**15 * item["mixture"], mixture, atol=0.05)
    np.testing.assert_allclose(
        2**15 * item["targets"], np.stack(targets[task], axis=-1), atol=0.05
    )


def test_no_file_is_read_that_the_variant_does_not_need(prepared):
    rows, _ = prepared
    dataset = RenderedMixtures(rows, "SB", augmentation=Augmentation(RATE))
    example = Example(6, "C", changes=Changes(REMIX, 0.0, 0))
    assert dataset.files(example) == {
        "s1": rows[0]["s2_wav"],
        "s2": rows[2]["s1_wav"],
    }


def test_a_mixture_that_clips_is_scaled_with_its_targets():
    audio = {"s1": torch.full((8,), 3e4), "s2": torch.full((8,), 3e4)}
    remix = REMIX._replace(ssr=(0,))
    mixture, targets = mix_anew(remix, audio, 8, "SB")
    assert mixture.max() == pytest.approx(0.9999 * 2**15, rel=1e-6)
    torch.testing.assert_close(targets.sum(dim=1), mixture)


def test_components_are_added_in_their_order():
    # To the last bit, in every process: rounding depends on the order.
    names = ["s1", "s2", "s2_reverb", "event", "s1_reverb", "event_reverb"]
    generator = torch.Generator().manual_seed(0)
    audio = {n: torch.randn(4000, generator=generator) for n in names}
    mixture, _ = mix_anew(REMIX._replace(ssr=(0,)), audio, 4000, "SB")
    gain = audio["s1"].norm().item() / audio["s2"].norm().item()
    expected = torch.stack([audio["s1"], gain * audio["s2"]]).sum(dim=0)
    for name in names[2:]:
        own = gain if name == "s2_reverb" else 1.0
        expected.add_(audio[name], alpha=own)
    assert torch.equal(mixture, expected)


def test_shift_and_speed_move_reverberation_and_speech_alike():
    speech = np.sin(np.arange(4000) / 9) * np.hanning(4000) * 9000
    audio = {
        "s1": torch.tensor(speech),
        "s1_reverb": torch.tensor(speech / 2),
        "s2": torch.zeros(4000),
    }
    parts = Part(0, "s1", shift=100, speed=125), Part(1, "s1")
    remix = Remix(parts, Part(0, "scene"), Part(0, "event"))
    mixture, targets = mix_anew(remix, audio, 4000, "SB")
    faster = resample_poly(speech, 4, 5)
    expected = np.pad(faster, (100, 4000 - 100 - len(faster)))
    error = targets[:, 0].numpy() - expected
    assert np.abs(error).max() < 0.01 * np.abs(expected).max()
    torch.testing.assert_close(mixture, 1.5 * targets[:, 0])


def test_levels_are_those_before_a_shift():
    generator = torch.Generator().manual_seed(0)
    names = ("s1", "s2", "scene")
    audio = {n: 99 * torch.randn(800, generator=generator) for n in names}
    whole, _ = mix_anew(REMIX, audio, 800, "SB")
    # Speaker 1 ends after 100 samples, speaker 2 begins after the end.
    one, two = Part(0, "s1", shift=-700), Part(1, "s1", shift=900)
    remix = REMIX._replace(speech=(one, two))
    mixture, targets = mix_anew(remix, audio, 800, "SB")
    expected = torch.cat([audio["s1"][700:], torch.zeros(700)])
    torch.testing.assert_close(targets[:, 0], expected)
    assert not targets[:, 1].any()
    gain = (mixture[100:].norm() / audio["scene"][100:].norm()).item()
    torch.testing.assert_close(mixture, expected + gain * audio["scene"])
    one, two = mix_anew(REMIX, audio, 800, "SB")[1].T
    torch.testing.assert_close(whole, one + two + gain * audio["scene"])


@pytest.mark.parametrize("rooms", ["scene", "any"])
def test_speakers_and_rooms_follow_the_rules(prepared, rooms):
    rows, speakers = prepared
    material = Material(rows, list(range(12)), speakers, rooms)
    classes, ssrs, offsets = set(), set(), []
    for seed in range(300):
        index = seed % 12
        remix = material.draw(index, random.Random(seed))
        here = rows[index]
        one, two = remix.speech
        assert material.speaker(one) != material.speaker(two)
        assert one.row != two.row
        assert max(part.row for part in remix.speech) < 12
        for part in (one, two):
            room = rows[part.row]
            assert room["environment"] == here["environment"]
            classes.add(room["scene_class"] == here["scene_class"])
            if rooms == "scene" and here["environment"] == "indoor":
                assert room["scene_class"] == here["scene_class"]
        for part in (remix.scene, remix.event):
            assert rows[part.row]["scene_class"] == here["scene_class"]
        ssrs.update(remix.ssr)
        offsets.append(remix.scene_offset)
    assert classes == {True, False}
    assert ssrs == set(range(-5, 6))
    assert -14 <= min(offsets) < -13
    assert -1 < max(offsets) <= 0


def test_one_speaker_alone_is_not_mixed_with_himself(prepared):
    rows, _ = prepared
    alone = {row["ID"]: ["a", "a"] for row in rows}
    material = Material(rows, list(range(16)), alone, "any")
    assert material.draw(0, random.Random(0)) is None


def test_share_of_stored_mixtures(prepared):
    rows, speakers = prepared
    material = Material(rows, list(range(16)), speakers, "any")
    augmentation = Augmentation(RATE, dynamic_mixing=0.7)
    drawn = [
        augmentation.draw(n % 16, material, random.Random(n)).remix is not None
        for n in range(600)
    ]
    assert 0.64 < np.mean(drawn) < 0.76


def test_gain_and_drops_are_drawn_and_leave_the_targets(prepared):
    rows, _ = prepared
    whole = RenderedMixtures(rows, "SB")[Example(0, "SER")]
    augmentation = Augmentation(
        RATE, gain=6.0, drop_frequencies=3, drop_chunks=2
    )
    dataset = RenderedMixtures(rows, "SB", augmentation=augmentation)
    state = torch.get_rng_state()
    changes = Changes(None, 6.0, 1234)
    first, again, other = (
        dataset[Example(0, "SER", changes=changes._replace(seed=seed))]
        for seed in (1234, 1234, 5)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first["mixture"], again["mixture"])
    assert not torch.equal(first["mixture"], other["mixture"])
    louder = 10 ** (6 / 20)
    torch.testing.assert_close(first["targets"], louder * whole["targets"])
    lost = first["mixture"] - louder * whole["mixture"]
    assert 0.05 < lost.norm() / (louder * whole["mixture"].norm()) < 1.2
    assert (other["mixture"] == 0).sum() >= RATE // 160


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"speeds": [100, 0.95]}, r"speed_perturbation 0\.95"),
        ({"remix_shift": 0.5}, "give its share, dynamic_mixing"),
        ({"remix_rooms": "any", "gain": 3.0}, "give its share, dynamic_mixing"),
    ],
)
def test_settings_that_make_no_sense(settings, named):
    with pytest.raises(UserError, match=named):
        Augmentation(RATE, **settings)


def test_speakers_by_their_paths():
    mls = pd.DataFrame(
        {
            "s1": ["mls/12/7/12_7_001.flac", "mls/12/8/12_8_002.flac"],
            "s2": ["D:\\vctk\\p225\\p225_001.wav", "voices/anna/a.wav;b.wav"],
        }
    )
    names = name_speakers(mls)
    assert names["s1"].tolist() == ["12", "12"]
    assert names["s2"].tolist() == ["p225", "voices/anna"]
    numbered = pd.DataFrame({"s1": ["anna/1/1.wav"], "s2": ["eva/1/1.wav"]})
    assert name_speakers(numbered)["s2"].tolist() == ["eva/1"]
    flat = pd.DataFrame({"s1": ["speech/1.wav"], "s2": ["speech/2.wav"]})
    assert name_speakers(flat).to_numpy().tolist() == flat.to_numpy().tolist()


def test_dropped_frequencies_are_those_of_speechbrain(prepared):
    rows, _ = prepared
    mixture = RenderedMixtures(rows, "SB")[Example(0, "SER")]["mixture"]
    augmentation = Augmentation(RATE, drop_frequencies=3)
    dropped, _ = augmentation.apply(
        Changes(None, 0.0, 7), mixture, mixture.unsqueeze(-1)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = DropFreq(drop_freq_count_low=0)(mixture.unsqueeze(0))
    torch.testing.assert_close(dropped, expected[0], atol=1e-6, rtol=0)
