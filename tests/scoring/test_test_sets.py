"""Test sets that are not PolSESS."""

import shutil

import numpy as np
import pytest
import soundfile
from odd_recordings import A, flac, wav
from polsess.corpus.metadata import find_librimix
from polsess.errors import UserError
from polsess.scoring.test_sets import (
    check_files,
    read_csv_corpus,
    read_librimix,
)
from small_test_sets import SETTINGS, write, write_librimix, write_table


def librimix(folder, variants=None, task="SB", split="test"):
    """Read a folder in LibriMix's layout, and check its files."""
    settings = SETTINGS | {"task": task}
    found = read_librimix(settings, folder, split, variants)
    check_files(found, quiet=True)
    return found


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("SB", {"mix_clean": ("s1", "s2"), "mix_both": ("s1", "s2")}),
        # mix_clean is what EB wants to get, not where it starts.
        ("EB", {"mix_both": ("s1+s2",)}),
        ("ES", {"mix_single": ("s1",)}),
    ],
)
def test_librimix_gives_what_a_task_needs(task, expected, tmp_path):
    root = tmp_path / "Libri2Mix"
    signals = write_librimix(root / "wav8k/min")
    assert find_librimix(root, 8000)
    found = librimix(root, task=task)
    assert found.name == "Libri2Mix-test"
    assert len(found.examples) == 2 * len(expected)
    assert {example.variant for example in found.examples} == set(expected)
    for example in found.examples:
        item = found[example]
        parts = signals[item["id"]]
        parts["s1+s2"] = parts["s1"] + parts["s2"]
        np.testing.assert_allclose(
            item["mixture"], parts[example.variant], atol=1e-6
        )
        targets = np.stack([parts[n] for n in expected[example.variant]], -1)
        np.testing.assert_allclose(item["targets"], targets, atol=1e-6)


def test_librimix_prefers_the_models_rate_and_min(tmp_path):
    root = tmp_path / "Libri2Mix"
    write_librimix(root / "wav16k/max", [9000], 16000)
    found = librimix(root)
    assert "wav16k/max" in found.rows[0]["mix_wav"]
    # A file at another rate is resampled: half as many samples.
    assert found[found.examples[0]]["targets"].shape == (4500, 2)
    write_librimix(root / "wav8k/max", [4500])
    write_librimix(root / "wav8k/min", [4000])
    found = librimix(root, ["mix_both"])
    assert "wav8k/min/test/mix_both" in found.rows[1]["mix_wav"]
    assert {example.variant for example in found.examples} == {"mix_both"}


def test_a_part_of_librimix_is_distinguished_from_other_parts(tmp_path):
    root = tmp_path / "Libri2Mix"
    hashes = []
    for part, rate in (("wav8k/min", 8000), ("wav16k/min", 16000)):
        write_librimix(root / part, [400], rate)
    write_librimix(root / "wav8k/max", [400])
    for part in (".", "wav8k", "wav8k/min", "wav8k/max", "wav16k"):
        found = librimix(root / part)
        place = part if "/" in part else f"{part.replace('.', 'wav8k')}/min"
        assert f"{place}/test" in found.rows[0]["mix_wav"]
        assert found.name == "Libri2Mix-test"
        hashes.append(found.rows_hash)
    assert hashes[0] == hashes[1] == hashes[2]
    assert len(set(hashes)) == 3


def test_hashes_are_of_the_audio_that_an_example_needs(tmp_path):
    found = {}
    write_librimix(tmp_path / "a/Libri2Mix", [400, 500])
    for name in "abc":
        root = tmp_path / name / "Libri2Mix"
        if name != "a":  # copied, and moved
            shutil.copytree(tmp_path / "a/Libri2Mix", root)
        if name == "c":
            write(root / "test/s1/u1.wav", np.full(500, 0.1))
        for task in ("SB", "ES"):
            found[name, task] = librimix(root, task=task)
    for task, key in (("SB", ("u1", "mix_both")), ("ES", ("u1", "mix_single"))):
        a, b, c = (found[name, task].audio for name in "abc")
        assert a == b
        differing = {key for key in a if a[key] != c[key]}
        assert key in differing
        assert {name for name, _ in differing} == {"u1"}
    write(tmp_path / "a/Libri2Mix/test/s2/u1.wav", np.full(500, 0.3))
    again = librimix(tmp_path / "a/Libri2Mix", task="ES")
    assert again.audio == found["a", "ES"].audio  # which does not need s2


@pytest.mark.parametrize(
    ("variant", "task", "split", "named"),
    [
        ("mix_both", "SB", "test", "--split test: choose from dev"),
        ("mix_all", "SB", "dev", "mix_all: choose from mix_clean, mix_both"),
        ("mix_clean", "EB", "dev", "mix_clean: choose from mix_both"),
    ],
)
def test_unknown_splits_and_variants_are_named(
    variant, task, split, named, tmp_path
):
    write_librimix(tmp_path, split="dev")
    with pytest.raises(UserError, match=named):
        librimix(tmp_path, [variant], task, split)


def test_csv_columns_and_paths(tmp_path):
    write_librimix(tmp_path / "audio", [400])
    folder = tmp_path / "audio/test"
    path = write_table(
        tmp_path / "pairs.csv",
        mix_wav=["audio/test/mix_both/u0.wav", f"{folder}/mix_clean/u0.wav"],
        s1_wav=["$data_root/audio/test/s1/u0.wav", f"{folder}/s1/u0.wav"],
        s2_wav=[f"{folder}/s2/u0.wav", f"{folder}/s2/u0.wav"],
        variant=["noisy", "clean"],
        ssr=[3, -2],
    )
    found = read_csv_corpus(SETTINGS, path, ["clean"])
    check_files(found, quiet=True)
    assert (found.name, len(found.examples)) == ("pairs-test", 1)
    row = found.rows[found.examples[0].row]
    assert (row["ID"], row["ssr"]) == ("u0", "-2")
    both = read_csv_corpus(SETTINGS, path, None)
    check_files(both, quiet=True)
    assert both.rows_hash == found.rows_hash
    assert both[both.examples[0]]["targets"].shape == (400, 2)


def test_what_is_decoded_counts(tmp_path):
    parts = {"s1_wav": np.concatenate([A, A]), "s2_wav": np.zeros(2 * len(A))}
    (tmp_path / "s1_wav").write_bytes(wav(parts["s1_wav"], 2**32 - 1, 2**31))
    (tmp_path / "s2_wav").write_bytes(wav(parts["s2_wav"], 0, 0))
    (tmp_path / "mix_wav").write_bytes(flac(parts["s1_wav"], 0))
    columns = {name: [name] for name in ("mix_wav", *parts)}
    path = write_table(tmp_path / "pairs.csv", **columns)
    found = read_csv_corpus(SETTINGS | {"sample_rate": 16000}, path, None)
    check_files(found, quiet=True)
    [example] = found.examples
    assert found.formats == {0: (16000, 2 * len(A))}
    item = found[example]
    for name, signal in (
        (item["mixture"], parts["s1_wav"]),
        *zip(item["targets"].T, parts.values(), strict=True),
    ):
        np.testing.assert_allclose(name, signal, atol=2**-14)
    (tmp_path / "s2_wav").write_bytes(wav(parts["s2_wav"])[:-20_000])
    with pytest.raises(UserError, match=r"s2_wav is cut off .* of 3\.000 s"):
        check_files(read_csv_corpus(SETTINGS, path, None), quiet=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"s2_wav": None}, "has no column s2_wav; it has mix_wav, s1_wav"),
        ({"s1_wav": ["s1.wav", ""]}, "row 3: has no s1_wav"),
        ({"ID": ["a", "a"]}, "row 3: another row has its ID and variant"),
        ({"s2_wav": ["s2.wav", "no.wav"]}, ", b: .*/no.wav cannot be"),
        ({"mix_wav": ["two.wav", "mix.wav"]}, ", a: .* 2 channels"),
        ({"s1_wav": ["short.wav", "s1.wav"]}, r", a: .* .*0, 300\)"),
        ({"s1_wav": ["other.wav"] * 2}, r"other.wav.*\(16000, 400\)"),
        ({"ssr": ["1.5", "high"]}, "row 3: ssr is no number of dB"),
        ({"s1_wav": ["empty.wav", "s1.wav"]}, "empty.wav holds no audio"),
        ({"s1_wav": ["s1.wav", "nan.wav"]}, ", b: .*nan.wav .*not a finite"),
        ({"mix_wav": ["nan.wav", "mix.wav"]}, ", a: .*nan.wav .*not a finite"),
        ({"s1_wav": ["s1\0.wav", "s1.wav"]}, "cannot be read .*null"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_named(change, named, tmp_path):
    for name in ("mix", "s1", "s2"):
        write(tmp_path / f"{name}.wav", np.ones(400))
    write(tmp_path / "two.wav", np.ones((400, 2)))
    write(tmp_path / "short.wav", np.ones(300))
    write(tmp_path / "other.wav", np.ones(400), 16000)
    write(tmp_path / "empty.wav", np.ones(0))
    nan = np.r_[np.ones(399), np.nan]
    soundfile.write(tmp_path / "nan.wav", nan, 8000, "FLOAT")
    columns = {f"{n}_wav": [f"{n}.wav"] * 2 for n in ("mix", "s1", "s2")}
    columns |= {"ID": ["a", "b"]} | change
    path = write_table(
        tmp_path / "pairs.csv",
        **{name: value for name, value in columns.items() if value},
    )
    with pytest.raises(UserError, match=named) as error:
        check_files(read_csv_corpus(SETTINGS, path, None), quiet=True)
    assert str(path) in str(error.value)


def test_batches_have_one_variant_and_one_length(tmp_path):
    write_librimix(tmp_path, [400, 500, 400, 400, 500])
    found = librimix(tmp_path)
    batches = found.batches(2)
    assert sorted(sum(batches, [])) == sorted(found.examples)
    assert sorted(len(batch) for batch in batches) == [1, 1, 2, 2, 2, 2]
    for batch in batches:
        kinds = {(e.variant, found.formats[e.row]) for e in batch}
        assert len(kinds) == 1
    # Without one variant, the others' batches stay the same.
    part = librimix(tmp_path, ["mix_both"])
    assert all(batch in batches for batch in part.batches(2))
