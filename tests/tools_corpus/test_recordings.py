"""tools/make_corpus.py with the user's own recordings."""

from argparse import Namespace

import numpy as np
import pytest
import soundfile
from corpus.recordings import load_recordings, read_part
from odd_recordings import A, B, encode, mp3, wav
from polsess.errors import UserError
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


def test_recordings_as_they_are(tmp_path, capsys):
    """Read to the end, in linked folders; the rest is said, or named."""
    joined = np.concatenate([A, B])
    (tmp_path / "far").mkdir()
    for name, content in {
        "joined.mp3": mp3(A) + mp3(B),
        "chained.ogg": encode(A, "OGG", "OPUS") + encode(B, "OGG", "OPUS"),
        "piped.wav": wav(joined, 2**32 - 1, 2**32 - 1),
        "died.wav": wav(A, 16_036, 16_000),
    }.items():
        (tmp_path / "far" / name).write_bytes(content)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/anna").symlink_to("../far")
    options = Namespace(speech=tmp_path / "in")

    def run(function, tasks, title, unit):
        return [function(options, *task) for task in tasks]

    found = load_recordings(options, "speech", run)
    lengths = {r.name: r.n_samples for r in found}
    assert lengths.pop("anna/died.wav") == 8000
    assert set(lengths.values()) == {len(joined)} and len(lengths) == 3
    assert "not read, 1: anna/died.wav (1.000 s)" in capsys.readouterr().out
    start = len(A) - 300
    for recording in found:
        if recording.n_samples == len(joined):
            part = read_part(recording, start, 9000, 16000)
            expected = joined[start : start + 9000]
            assert np.corrcoef(part, expected)[0, 1] > 0.99

    (tmp_path / "far/x.raw").touch()
    (tmp_path / "far/gone.wav").symlink_to("nowhere.wav")
    (tmp_path / "far/cut.wav").write_bytes(wav(A)[:30_000])
    with pytest.raises(UserError, match="3 of 7 files") as error:
        load_recordings(options, "speech", run)
    for name in ("x.raw: .raw cannot", "gone.wav: a link", "cut.wav: is cut"):
        assert f"anna/{name}" in str(error.value)
