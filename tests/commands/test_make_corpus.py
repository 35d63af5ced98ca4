"""make_corpus.py: the embedded corpus, checked from its files; kills."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from polsess.corpus.checks import check_corpus
from polsess.corpus.metadata import (
    METADATA_COLUMNS,
    find_metadata,
    read_metadata,
)
from polsess.errors import UserError
from small_made_corpora import (
    TOOL,
    hash_files,
    make,
    read_components,
    read_rows,
)
from small_recordings import write_recordings

SIZES = {"train": 24, "val": 6, "test": 6}
OPTIONS = ("--train", "24", "--valid", "6", "--test", "6", "--seed", "3")
INDOOR_COLUMNS = METADATA_COLUMNS[METADATA_COLUMNS.index("preDelayForEvent") :]


def level(waveform):
    return 20 * np.log10(np.sqrt(np.mean(waveform**2)))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("two_jobs") / "small"
    result = subprocess.run(
        [sys.executable, str(TOOL), str(root), *OPTIONS, "--jobs", "2"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "synthetic: speech, scenes, events" in result.stdout
    return root


@pytest.fixture(scope="module")
def mixtures(corpus):
    """All (split, row, components) of the corpus."""
    return [
        (split, row, read_components(corpus, split, row))
        for split in SIZES
        for row in read_rows(corpus, split)
    ]


def test_the_recipe_finds_nothing_wrong(corpus):
    assert {path.name for path in corpus.iterdir()} == {
        *SIZES,
        "make_corpus.json",
    }
    paths = find_metadata(corpus)
    assert {split: path.name for split, path in paths.items()} == {
        split: f"corpus_small_{split}_final.csv" for split in SIZES
    }
    tables = [read_metadata(path, split) for split, path in paths.items()]
    table = pd.concat(tables, ignore_index=True)
    assert table["split"].value_counts().to_dict() == SIZES
    good, findings, audio = check_corpus(corpus, table, "audio", jobs=1)
    assert findings == [] and len(good) == 36
    assert audio == (8000, 32000)


def test_levels_are_those_of_the_metadata(mixtures):
    for _, row, parts in mixtures:
        assert row["SSR"] == str(int(row["SSR"]))
        assert -5 <= int(row["SSR"]) <= 5
        ssr = level(parts["speech1"]) - level(parts["speech2"])
        assert ssr == pytest.approx(int(row["SSR"]), abs=0.05)
        random = float(row["sceneRandomDB"])
        assert 0 <= random <= 14
        assert float(row["sceneOffsetDB"]) == pytest.approx(random - 14)
        speech = parts["speech1"] + parts["speech2"]
        assert level(parts["scene"]) - level(speech) == pytest.approx(
            random - 14, abs=0.1
        )
        assert np.max(np.abs(parts["mix"])) < 0.9999


def test_mix_is_the_sum_of_its_components(mixtures):
    exact = [
        np.all(2 * parts["mix"] == sum(parts.values()))
        for _, _, parts in mixtures
    ]
    # The limiter on the speech may come between.
    assert sum(exact) >= len(mixtures) - 1


def test_indoor_rows_alone_have_reverberation(mixtures):
    indoor_classes = {"cafe", "kitchen", "library", "office", "train_station"}
    for _, row, _ in mixtures:
        indoor = row["sceneClass"] in indoor_classes
        assert bool(row["reverbForSpeaker1"]) == indoor
        assert all(bool(row[column]) == indoor for column in INDOOR_COLUMNS)
        if indoor:
            assert 0 < float(row["preDelay2"]) < float(row["preDelay1"]) < 0.1
            for column in ("diffusion", "decay", "freqDamp"):
                assert 0 <= float(row[column]) <= 1
    share = np.mean([bool(row["reverbForSpeaker1"]) for _, row, _ in mixtures])
    assert 0.3 < share < 0.7


def test_reverberation_has_no_direct_path(mixtures):
    for _, row, parts in mixtures:
        if row["reverbForSpeaker1"]:
            for number in "12":
                # The least-squares impulse response between the two files.
                dry = np.fft.rfft(parts[f"speech{number}"], 65536)
                wet = np.fft.rfft(parts[f"reverb{number}"], 65536)
                power = np.abs(dry) ** 2
                response = np.fft.irfft(
                    wet * dry.conj() / (power + 1e-3 * power.mean())
                )
                assert np.abs(response[0]) < 0.15
                assert np.abs(response[:8000]).max() > 0.05


def test_splits_share_no_source(mixtures):
    columns = [f"{s}OryginalPath" for s in ("speech1", "speech2", "scene")]
    used = {split: set() for split in SIZES}
    speakers = {split: set() for split in SIZES}
    for split, row, _ in mixtures:
        used[split] |= {row[c] for c in [*columns, "eventOryginalPath"]}
        pair = [row[c].split("/")[-2] for c in columns[:2]]
        assert pair[0] != pair[1]
        # A voice's name is its eSpeak variant and a number.
        speakers[split] |= {name.rsplit("-", 1)[0] for name in pair}
    for sets in (used, speakers):
        assert not sets["train"] & sets["val"]
        assert not sets["train"] & sets["test"]
        assert not sets["val"] & sets["test"]


def test_another_number_of_jobs_gives_the_same_bits(corpus, tmp_path):
    root = tmp_path / "small"
    make(root, *OPTIONS, "--jobs", 1)
    assert hash_files(root) == hash_files(corpus)


def test_the_same_command_again_touches_nothing(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert "nothing to do" in make(corpus, *OPTIONS)
    assert before == {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}


def test_other_options_are_refused(corpus):
    before = hash_files(corpus)
    options = ("--train", 25, "--valid", 6, "--test", 6, "--seed", 4)
    with pytest.raises(UserError) as error:
        make(corpus, *options)
    assert "train was 24, now 25" in str(error.value)
    assert "seed was 3, now 4" in str(error.value)
    assert hash_files(corpus) == before


@pytest.fixture(scope="module")
def whole_corpus(tmp_path_factory):
    """A corpus that nothing disturbed, and how it was made."""
    folder = tmp_path_factory.mktemp("whole")
    sizes = ("--train", "60", "--valid", "2", "--test", "2")
    arguments = [*sizes, *write_recordings(folder)]
    make(folder / "corpus", *arguments, "--jobs", "1")
    return folder / "corpus", arguments


@pytest.mark.parametrize("stage", ["rooms", "rows"])
def test_a_killed_run_is_completed_by_the_same_command(
    whole_corpus, tmp_path, stage
):
    whole, arguments = whole_corpus
    root = tmp_path / "corpus"
    command = [sys.executable, str(TOOL), str(root), *arguments, "--jobs", "2"]
    run = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not any((root / ".make_corpus" / stage).rglob("*.*")):
        assert run.poll() is None
        time.sleep(0.005)
    os.killpg(run.pid, signal.SIGKILL)  # its workers as well
    run.wait()
    assert not list(root.rglob("corpus_*.csv"))
    # What a run that dies while it writes leaves behind.
    (root / ".make_corpus/tmp/1234-torn.wav").write_bytes(b"RIFF")
    make(root, *arguments, "--jobs", "1")
    assert hash_files(root) == hash_files(whole)
