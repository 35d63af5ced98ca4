"""tools/make_corpus.py with the user's own recordings."""

import numpy as np
import pytest
import soundfile
from scipy.signal import resample
from small_made_corpora import make, read_components, read_rows
from small_recordings import SIZES, write_recordings


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    return folder, write_recordings(folder, rate=44100, channels=2)


@pytest.fixture(scope="module")
def corpus(recordings, tmp_path_factory):
    root = tmp_path_factory.mktemp("own") / "own"
    make(root, *SIZES, *recordings[1])
    return root


def all_rows(root):
    return [
        (split, row)
        for split in ("train", "val", "test")
        for row in read_rows(root, split)
    ]


def test_components_are_what_the_metadata_says(recordings, corpus):
    folder, _ = recordings
    checked = 0
    for split, row in all_rows(corpus):
        parts = read_components(corpus, split, row)
        for name, kind in (
            ("speech1", "speech"),
            ("speech2", "speech"),
            ("scene", "scenes"),
            ("event", "events"),
        ):
            path, start, end = (
                row[f"{name}{c}"] for c in ("OryginalPath", "Start", "End")
            )
            start, end = int(start), int(end)
            first = folder / kind / path.split(";")[0]
            source, rate = soundfile.read(first, always_2d=True)
            assert 1 <= start <= end <= len(source)
            if end - start + 1 == 4 * rate:
                expected = resample(source[start - 1 : end].mean(1), 32000)
                match = np.corrcoef(expected, parts[name])[0, 1]
                assert match > 0.98, (name, match)
                checked += 1
    assert checked > 20


def test_short_scenes_are_repeated_and_short_events_placed(corpus):
    kinds = set()
    for split, row in all_rows(corpus):
        parts = read_components(corpus, split, row)
        if row["sceneClass"] == "Street Traffic":
            assert row["sceneOryginalPath"].count(";") == 1
            assert (row["sceneStart"], row["sceneEnd"]) == ("1", "16000")
            assert not row["reverbForSpeaker1"]
        else:
            assert row["sceneClass"] == "car" and row["reverbForSpeaker1"]
        if row["eventClass"] == "car-horn":
            sounding = np.flatnonzero(parts["event"])
            assert 2000 < sounding[-1] - sounding[0] < 3300
            assert (row["eventStart"], row["eventEnd"]) == ("1", "19200")
        kinds |= {row["sceneClass"], row["eventClass"]}
    assert kinds == {"Street Traffic", "car", "car-horn", "cough"}


def test_speakers_are_apart_when_there_are_enough(corpus):
    speakers = {"train": set(), "val": set(), "test": set()}
    for split, row in all_rows(corpus):
        pair = [row[f"speech{n}OryginalPath"].split("/")[0] for n in "12"]
        assert pair[0] != pair[1]
        speakers[split] |= set(pair)
    assert sum(map(len, speakers.values())) == len(
        set.union(*speakers.values())
    )


def test_few_speakers_share_splits_but_no_recording(tmp_path):
    options = write_recordings(tmp_path, n_speakers=2, seconds=1.7)
    messages = make(tmp_path / "corpus", *SIZES, *options)
    assert "fewer than 6 speakers" in messages
    files = {"train": set(), "val": set(), "test": set()}
    for split, row in all_rows(tmp_path / "corpus"):
        for number in "12":
            path = row[f"speech{number}OryginalPath"]
            # One recording a speaker is left for each split, so that what is
            # missing of the four seconds is silent.
            assert ";" not in path
            files[split].add(path)
    assert not files["train"] & files["val"]
    assert not (files["train"] | files["val"]) & files["test"]


def test_short_recordings_of_a_speaker_are_joined(tmp_path):
    options = write_recordings(tmp_path, seconds=1.7)
    make(tmp_path / "corpus", *SIZES, *options)
    for split, row in all_rows(tmp_path / "corpus"):
        paths = row["speech1OryginalPath"].split(";")
        assert len(paths) > 1
        assert len({path.split("/")[0] for path in paths}) == 1
        last = soundfile.info(tmp_path / "speech" / paths[-1])
        assert row["speech1Start"] == "1"
        assert int(row["speech1End"]) <= last.frames
        speech = read_components(tmp_path / "corpus", split, row)["speech1"]
        assert np.all(np.abs(speech).reshape(-1, 800).max(axis=1) > 0.01)
