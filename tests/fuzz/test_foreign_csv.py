"""CSV files of other corpora, as evaluate.py reads them."""

import shutil

import hypothesis.strategies as st
import numpy as np
import pytest
import soundfile
from damage import csv_files
from hypothesis import given
from outcomes import attempt, check_items, new_folder
from polsess.errors import UserError
from polsess.scoring.test_sets import check_files, read_csv_corpus

COLUMNS = ["ID", "mix_wav", "s1_wav", "s2_wav", "variant", "ssr", "scene_class"]


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """Write the audio of three mixtures."""
    folder = tmp_path_factory.mktemp("fuzz")
    generator = np.random.default_rng(0)
    for number in range(3):
        signals = 0.1 * generator.standard_normal((2, 200 + number))
        for name, signal in zip("12", signals, strict=True):
            soundfile.write(folder / f"s{name}_{number}.wav", signal, 8000)
        mixture = folder / f"mix_{number}.wav"
        soundfile.write(mixture, signals.sum(axis=0), 8000)
    return folder


def table_of(folder):
    """Make a valid table, with each way to say where a file is."""
    starts = ["$data_root/", "", f"{folder}/"]
    rows = [
        [
            *(f"u{n}", f"{start}mix_{n}.wav", f"{start}s1_{n}.wav"),
            *(f"{start}s2_{n}.wav", "noisy", "1.5", "street, busy"),
        ]
        for n, start in enumerate(starts)
    ]
    return [COLUMNS, *rows]


def read_all(path, task):
    """Read everything that an evaluation would."""
    settings = {"task": task, "n_sources": 2, "sample_rate": 8000}
    test_set = read_csv_corpus(settings, path, None)
    check_files(test_set, quiet=True)
    return test_set, [test_set[example] for example in test_set.examples]


@given(st.data())
def test_a_csv_file(audio, data):
    content, damaged = data.draw(csv_files(table_of(audio)))
    task = data.draw(st.sampled_from(["SB", "ES", "EB"]))
    with new_folder() as folder:
        shutil.copytree(audio, folder, dirs_exist_ok=True)
        path = folder / "corpus.csv"
        path.write_bytes(content)
        result, _ = attempt(lambda: read_all(path, task), UserError, path)
        assert damaged or result
        if result:
            test_set, items = result
            assert len(items) == len(test_set.examples) == len(test_set.audio)
            assert sum(map(len, test_set.batches(2))) == len(items)
            check_items(items, task)
