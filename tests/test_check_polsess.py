"""Every kind of damage to a corpus is found, named, and can be left out."""

import csv
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from check_polsess import (
    AudioFormat,
    UserError,
    find_metadata,
    read_metadata,
    read_wav_header,
)
from prepare_polsess import prepare_polsess
from small_corpus import metadata_path, write_metadata, write_small_corpus

# Rows of small corpora alternate, an indoor one first; row 2 of the CSV is the
# table's row 0.
FOLDERS = {
    "mixFile": "mix",
    "speaker1File": "clean",
    "speaker2File": "clean",
    "sceneFile": "scene",
    "eventFile": "event",
    "reverbForSpeaker1": "sp1_reverb",
    "reverbForSpeaker2": "sp2_reverb",
    "reverbForEvent": "ev_reverb",
}


@pytest.fixture
def corpus(tmp_path):
    """A fresh corpus to damage: its folder and its tables."""
    root = tmp_path / "PolSESS_T"
    return root, write_small_corpus(root, {"train": 4, "val": 2, "test": 2})


def audio_path(root, table, number, column):
    split = table["subset"][number]
    return root / split / FOLDERS[column] / table[column][number]


def read(path):
    return soundfile.read(path, dtype="int16")[0]


def write(path, samples, sample_rate=8000, subtype="PCM_16"):
    soundfile.write(path, samples, sample_rate, subtype=subtype)


def change_cell(root, tables, split, number, column, text):
    tables[split].loc[number, column] = text
    write_metadata(root, split, tables[split])


def copy_row_audio(root, table, number, target):
    """Give a row the audio of another, under the names it has."""
    for column in FOLDERS:
        if table[column][number]:
            shutil.copy(
                audio_path(root, table, number, column),
                audio_path(root, table, target, column),
            )


# Each damages one row and returns the split, the row as the CSV's reader counts
# it, a part of the file's name and a part of the reason.


def missing(root, tables):
    audio_path(root, tables["val"], 1, "eventFile").unlink()
    return "val", 3, "val/event/" + tables["val"].eventFile[1], "is missing"


def no_wav(root, tables):
    path = audio_path(root, tables["train"], 0, "sceneFile")
    path.write_text("not audio, but long enough for a header " * 9)
    return "train", 2, path.name, "is not a WAV file"


def empty_file(root, tables):
    path = audio_path(root, tables["train"], 0, "mixFile")
    path.write_bytes(b"")
    return "train", 2, path.name, "is empty or ends within its header"


def folder_instead(root, tables):
    path = audio_path(root, tables["test"], 0, "speaker1File")
    path.unlink()
    path.mkdir()
    return "test", 2, path.name, "cannot be read (Is a directory)"


def truncated(root, tables):
    path = audio_path(root, tables["train"], 3, "speaker2File")
    os.truncate(path, 44 + 2000)
    # Why the header has to be compared with the file's size:
    assert soundfile.info(path).frames == 1000
    reason = "is truncated: its header says 8000 bytes of audio, it has 2000"
    return "train", 5, path.name, reason


def no_audio(root, tables):
    path = audio_path(root, tables["train"], 3, "speaker2File")
    write(path, np.zeros(0, np.int16))
    return "train", 5, path.name, "has no audio"


def other_rate(root, tables):
    path = audio_path(root, tables["train"], 1, "sceneFile")
    write(path, read(path), 16000)
    reason = "has 4000 samples at 16000 Hz, its mixture 4000 samples at 8000 Hz"
    return "train", 3, path.name, reason


def row_at_other_rate(root, tables):
    for column in FOLDERS:
        path = audio_path(root, tables["train"], 0, column)
        write(path, np.repeat(read(path), 2), 16000)
    path = audio_path(root, tables["train"], 0, "mixFile")
    reason = "has 8000 samples at 16000 Hz, the corpus has 4000 samples at 8000"
    return "train", 2, path.name, reason


def stereo(root, tables):
    path = audio_path(root, tables["train"], 2, "reverbForEvent")
    write(path, np.stack([read(path)] * 2, axis=1))
    return "train", 4, path.name, "has 2 channels instead of one"


def float_samples(root, tables):
    path = audio_path(root, tables["train"], 2, "reverbForSpeaker1")
    write(path, read(path), subtype="FLOAT")
    reason = "has 32-bit samples of kind 3, not 16-bit PCM"
    return "train", 4, path.name, reason


def shorter(root, tables):
    path = audio_path(root, tables["test"], 1, "speaker1File")
    write(path, read(path)[:-1])
    reason = "has 3999 samples at 8000 Hz, its mixture 4000 samples at 8000 Hz"
    return "test", 3, path.name, reason


def shorter_row(root, tables):
    for column in list(FOLDERS)[:5]:
        path = audio_path(root, tables["train"], 1, column)
        write(path, read(path)[:2000])
    path = audio_path(root, tables["train"], 1, "mixFile")
    reason = "has 2000 samples at 8000 Hz, the corpus has 4000 samples"
    return "train", 3, path.name, reason


def wrong_subset(root, tables):
    change_cell(root, tables, "val", 0, "subset", "train")
    name = tables["val"].mixFile[0]
    return "val", 2, name, "its subset is 'train' instead of 'val'"


def ratio_in_words(root, tables):
    change_cell(root, tables, "train", 1, "SSR", "loud")
    name = tables["train"].mixFile[1]
    return "train", 3, name, "its SSR 'loud' is not a whole number of dB"


def broken_ratio(root, tables):
    change_cell(root, tables, "train", 1, "SSR", "2.5")
    name = tables["train"].mixFile[1]
    return "train", 3, name, "its SSR '2.5' is not a whole number of dB"


def missing_ratio(root, tables):
    change_cell(root, tables, "train", 1, "SSR", "NaN")
    name = tables["train"].mixFile[1]
    return "train", 3, name, "its SSR '' is not a whole number of dB"


def offset_in_words(root, tables):
    change_cell(root, tables, "train", 0, "sceneOffsetDB", "-5 dB")
    name = tables["train"].mixFile[0]
    return "train", 2, name, "its sceneOffsetDB '-5 dB' is not a number"


def no_source(root, tables):
    change_cell(root, tables, "test", 0, "speech2OryginalPath", "")
    name = tables["test"].mixFile[0]
    return "test", 2, name, "its speech2OryginalPath is empty"


def dollar(root, tables):
    change_cell(root, tables, "train", 0, "eventClass", "$ound")
    name = tables["train"].mixFile[0]
    return "train", 2, name, "its eventClass '$ound' has a dollar sign"


def malformed_name(root, tables):
    change_cell(root, tables, "train", 0, "sceneFile", "../../scene.wav")
    reason = "its sceneFile '../../scene.wav' is not 16 characters"
    return "train", 2, tables["train"].mixFile[0], reason


def one_speaker(root, tables):
    name = tables["train"].speaker1File[1]
    change_cell(root, tables, "train", 1, "speaker2File", name)
    reason = "speaker1File and speaker2File are the same file"
    return "train", 3, tables["train"].mixFile[1], reason


def other_mixture_name(root, tables):
    right = tables["train"].mixFile[0]
    change_cell(root, tables, "train", 0, "mixFile", "x" + right[1:])
    return "train", 2, "x" + right[1:], f"its mixFile would be '{right}'"


def no_mixture_name(root, tables):
    change_cell(root, tables, "train", 0, "mixFile", "")
    return "train", 2, "(no mixFile)", "by its components its mixFile would be"


def partial_reverb(root, tables):
    change_cell(root, tables, "train", 2, "reverbForSpeaker2", "NaN")
    return "train", 4, tables["train"].mixFile[2], "its reverb files ["


def reverb_without_speaker1(root, tables):
    change_cell(root, tables, "train", 2, "reverbForSpeaker1", "")
    return "train", 4, tables["train"].mixFile[2], "all empty outdoors"


def repeated_row(root, tables):
    table = tables["train"]
    table = pd.concat([table, table.iloc[[1]]])
    write_metadata(root, "train", table)
    return "train", 6, table.mixFile[1].iloc[0], "is identical to row 3"


def shared_file(root, tables):
    table = tables["train"]
    name = table.sceneFile[1].removesuffix(".wav")
    new = table.mixFile[3].replace(table.sceneFile[3][:16], name)
    change_cell(root, tables, "train", 3, "sceneFile", table.sceneFile[1])
    audio_path(root, table, 3, "mixFile").rename(root / "train/mix" / new)
    change_cell(root, tables, "train", 3, "mixFile", new)
    return "train", 5, new, f"shares train/scene/{name}.wav with row 3"


def same_fragments(root, tables):
    table = tables["train"]
    fragments = [
        column
        for column in table
        if column.endswith(("OryginalPath", "Start", "End", "SSR"))
    ]
    for column in fragments:
        table.loc[2, column] = table[column][0]
    write_metadata(root, "train", table)
    reason = "has the same source fragments as row 2"
    return "train", 4, table.mixFile[2], reason


def same_audio(root, tables):
    copy_row_audio(root, tables["train"], 0, target=2)
    reason = "sounds exactly like row 2"
    return "train", 4, tables["train"].mixFile[2], reason


def wrong_sum(root, tables):
    path = audio_path(root, tables["train"], 1, "eventFile")
    samples = read(path)
    samples[1234] += 9  # Rounding of five files explains 5.
    write(path, samples)
    reason = "not the sum of its components: off by up to 9 of 32768 where"
    return "train", 3, tables["train"].mixFile[1], reason


def silent_speech(root, tables):
    mixture = audio_path(root, tables["test"], 0, "mixFile")
    speech = audio_path(root, tables["test"], 0, "speaker2File")
    write(mixture, read(mixture) - read(speech))
    write(speech, np.zeros(4000, np.int16))
    return "test", 2, speech.name, "is silent: all its samples are zero"


def leak_to_test(root, tables):
    source = tables["test"].speech2OryginalPath[1]
    source = source.replace("/", "\\")  # As Windows writes it.
    change_cell(root, tables, "train", 2, "speech1OryginalPath", source)
    reason = "its source /speech/test/speaker2/1.wav is also in test, row 3"
    return "train", 4, tables["train"].mixFile[2], reason


def leak_between_evaluations(root, tables):
    source = tables["test"].speech1OryginalPath[0]
    change_cell(root, tables, "val", 1, "speech1OryginalPath", source)
    reason = f"its source {source} is also in test, row 2"
    return "val", 3, tables["val"].mixFile[1], reason


def renamed_leak(root, tables):
    train, val = tables["train"], tables["val"]
    speech = audio_path(root, train, 1, "speaker1File")
    mixture = audio_path(root, train, 1, "mixFile")
    new = read(audio_path(root, val, 0, "speaker1File"))
    write(mixture, read(mixture) - read(speech) + new)
    write(speech, new)
    reason = f"audio of train/clean/{speech.name} is also in val, row 2"
    return "train", 3, mixture.name, reason


METADATA_DAMAGE = [
    wrong_subset,
    ratio_in_words,
    broken_ratio,
    missing_ratio,
    offset_in_words,
    no_source,
    dollar,
    malformed_name,
    one_speaker,
    other_mixture_name,
    no_mixture_name,
    partial_reverb,
    reverb_without_speaker1,
    repeated_row,
    shared_file,
    same_fragments,
    leak_to_test,
    leak_between_evaluations,
]
HEADER_DAMAGE = [
    missing,
    no_wav,
    empty_file,
    folder_instead,
    truncated,
    no_audio,
    other_rate,
    row_at_other_rate,
    stereo,
    float_samples,
    shorter,
    shorter_row,
]
AUDIO_DAMAGE = [same_audio, wrong_sum, silent_speech, renamed_leak]
DAMAGE = [
    *(("none", damage) for damage in METADATA_DAMAGE),
    *(("headers", damage) for damage in HEADER_DAMAGE),
    *(("audio", damage) for damage in AUDIO_DAMAGE),
]


@pytest.mark.parametrize(("check", "damage"), DAMAGE)
def test_damage_stops_or_is_dropped(corpus, tmp_path, check, damage):
    root, tables = corpus
    split, row, file, reason = damage(root, tables)
    save = tmp_path / "save"

    with pytest.raises(UserError) as error:
        prepare_polsess(root, save, check=check)
    line = str(error.value).splitlines()[1]
    assert line.startswith(f"  {split}, row {row}, ")
    assert file in line.split(": ")[0]
    assert reason in line
    assert not save.exists()

    record = prepare_polsess(root, save, check=check, on_error="drop")
    with open(save / "rejected.csv", newline="") as rejected:
        found = list(csv.DictReader(rejected))
    assert {(f["split"], f["row"]) for f in found} == {(split, str(row))}
    assert file in found[0]["file"] and reason in found[0]["reason"]
    assert record["counts"][split]["dropped"] == 1
    rows = {"train": 4, "val": 2, "test": 2}
    # Its repetition made a row more.
    rows[split] -= damage is not repeated_row
    for name, count in rows.items():
        manifest = pd.read_csv(save / f"{name}_all.csv")
        assert len(manifest) == record["counts"][name]["rows"] == count


@pytest.mark.parametrize("damage", AUDIO_DAMAGE)
def test_only_reading_the_audio_finds_what_it_holds(corpus, tmp_path, damage):
    root, tables = corpus
    damage(root, tables)
    record = prepare_polsess(root, tmp_path / "save", check="headers")
    assert record["counts"]["train"]["rows"] == 4


def test_first_twenty_findings_and_their_count(tmp_path):
    root = tmp_path / "PolSESS_T"
    write_small_corpus(root, {"train": 23, "val": 2, "test": 2}, seconds=0.1)
    shutil.rmtree(root / "train" / "event")
    audio = next((root / "val" / "mix").iterdir())
    audio.unlink()
    with pytest.raises(UserError) as error:
        prepare_polsess(root, tmp_path / "save")
    head, *lines, more, last = str(error.value).splitlines()
    assert head.startswith(f"Corpus '{root}': findings: 24, in 24 of 27 rows")
    assert [line.split(", ")[1] for line in lines] == [
        f"row {row}" for row in range(2, 22)
    ]
    assert more == "  ... and 4 more"
    assert last.startswith("Nothing was written. Repair the corpus")


def test_a_damaged_duplicate_does_not_cost_the_good_row(corpus, tmp_path):
    root, tables = corpus
    table = tables["train"]
    broken = table.iloc[[1]].assign(SSR="?")
    write_metadata(root, "train", pd.concat([broken, table]))
    record = prepare_polsess(root, tmp_path / "save", on_error="drop")
    assert record["counts"]["train"]["dropped"] == 1
    manifest = pd.read_csv(tmp_path / "save" / "train_all.csv")
    assert list(manifest.ID + ".wav") == list(table.mixFile)


def test_no_row_left_is_an_error(corpus, tmp_path):
    root, _ = corpus
    shutil.rmtree(root / "val" / "mix")
    with pytest.raises(
        UserError, match="No good row is left in 'val'"
    ) as error:
        prepare_polsess(root, tmp_path / "save", on_error="drop")
    assert "val, row 3, val/mix/" in str(error.value)
    assert not (tmp_path / "save").exists()


def test_rounding_is_not_a_wrong_sum(corpus, tmp_path):
    root, tables = corpus
    path = audio_path(root, tables["train"], 0, "mixFile")
    write(path, read(path) + np.int16(8))  # Eight files, a step each.
    prepare_polsess(root, tmp_path / "save", check="audio")


def test_limited_speech_is_a_note(corpus, tmp_path):
    # The mixture holds the limited sum of the speech, and the samples that
    # speaker 2 had before they were limited.
    root, tables = corpus
    table = tables["train"]
    audio = {
        column: read(audio_path(root, table, 1, column)).astype(int)
        for column in ("speaker1File", "speaker2File", "sceneFile", "eventFile")
    }
    s1, s2, scene, event = audio.values()
    s1[100], s2[100] = 20000, 20000
    s1[200], s2[200] = -9000, 40000
    scene[[100, 200]] = -5000
    limit = round(0.999 * 32768)
    mixture = np.clip(s1 + s2, -limit, limit) + scene + event
    s2 = np.clip(s2, -limit, limit)
    audio |= {"mixFile": mixture, "speaker2File": s2}
    for column, samples in audio.items():
        path = audio_path(root, table, 1, column)
        write(path, samples.astype(np.int16))
    record = prepare_polsess(root, tmp_path / "save", check="audio")
    assert "limiter touched the speech" in record["notes"][-1]
    assert record["notes"][-1].endswith("1 (train row 3)")

    mixture[300] += 9
    path = audio_path(root, table, 1, "mixFile")
    write(path, mixture.astype(np.int16))
    with pytest.raises(UserError, match="row 3.* off by up to 9 of 32768"):
        prepare_polsess(root, tmp_path / "again", check="audio")


def test_parallel_reading_finds_the_same(tmp_path):
    root = tmp_path / "PolSESS_T"
    rows = {"train": 140, "val": 2, "test": 2}  # Three chunks.
    tables = write_small_corpus(root, rows, seconds=0.02)
    for number in (3, 70, 139):
        audio_path(root, tables["train"], number, "mixFile").unlink()
    copy_row_audio(root, tables["train"], 5, target=101)
    for jobs in (1, 2):
        save = tmp_path / str(jobs)
        prepare_polsess(root, save, check="audio", on_error="drop", jobs=jobs)
    rejected = pd.read_csv(tmp_path / "1" / "rejected.csv")
    assert list(rejected.row) == [5, 72, 103, 141]
    for path in (tmp_path / "1").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def test_wav_header_with_more_chunks(tmp_path):
    # As editors write them: one of odd length before the samples.
    path = tmp_path / "a.wav"
    write(path, np.arange(10, dtype=np.int16))
    whole = path.read_bytes()
    note = b"LIST" + (5).to_bytes(4, "little") + b"INFOx\0"
    path.write_bytes(whole[:36] + note + whole[36:] + b"trailing")
    assert read_wav_header(path) == (AudioFormat(8000, 10), 44 + len(note))


# Metadata files that cannot be read at all


def add_field(path):
    lines = path.read_text().splitlines()
    lines[3] += ",more"
    path.write_text("\n".join(lines))


FILE_DAMAGE = [
    (lambda path: path.unlink(), "needs exactly one corpus_*_train_final.csv"),
    (
        lambda path: shutil.copy(
            path, path.with_name("corpus_B_train_final.csv")
        ),
        "corpus_B_train_final.csv\n",
    ),
    (lambda path: path.write_text(""), "is empty: it has no header"),
    (
        lambda path: path.write_text(path.read_text().splitlines()[0]),
        "has no rows below its header",
    ),
    (
        lambda path: path.write_text(path.read_text().replace("SSR", "SNR", 1)),
        "does not have these columns: 'SSR'",
    ),
    (
        lambda path: path.write_text(path.read_text().replace(",", ";")),
        "does not have these columns: 'subset'",
    ),
    (
        lambda path: (
            pd.read_csv(path, dtype=str)
            .assign(remark="good", mood="better")
            .to_csv(path, index=False)
        ),
        "has columns that PolSESS does not have: 'remark', 'mood'",
    ),
    (
        lambda path: path.write_text(
            path.read_text().replace("decay,", "decay,decay,", 1)
        ),
        "has columns more than once: 'decay'",
    ),
    (add_field, "row 4 has 35 fields instead of 34"),
    (
        lambda path: path.write_text(path.read_text() + '"train'),
        "is no CSV file",
    ),
    (
        lambda path: path.write_bytes(path.read_bytes() + "ł".encode("cp1250")),
        "is not UTF-8 text",
    ),
]


@pytest.mark.parametrize(("damage", "message"), FILE_DAMAGE)
def test_unusable_metadata(corpus, tmp_path, damage, message):
    root, _ = corpus
    path = metadata_path(root, "train")
    damage(path)
    for on_error in ("stop", "drop"):
        with pytest.raises(UserError) as error:
            prepare_polsess(root, tmp_path / "save", on_error=on_error)
        assert message in str(error.value)
        assert "train" in str(error.value)
    assert not (tmp_path / "save").exists()


def test_missing_folders(corpus, tmp_path):
    root, _ = corpus
    with pytest.raises(UserError, match="'/no/such' is not a folder"):
        prepare_polsess("/no/such", tmp_path / "save")
    with pytest.raises(UserError) as error:
        prepare_polsess(root.parent, tmp_path / "save")
    assert "has no folder 'train'" in str(error.value)
    assert str(error.value).endswith(f"Did you mean '{root}'?")
    shutil.rmtree(root / "test")
    with pytest.raises(UserError, match="has no folder 'test'"):
        prepare_polsess(root, tmp_path / "save")


def test_first_mixture_tells_the_duration_without_checks(corpus, tmp_path):
    root, tables = corpus
    audio_path(root, tables["train"], 0, "mixFile").unlink()
    with pytest.raises(UserError, match="tell how long all files are"):
        prepare_polsess(root, tmp_path / "save", check="none")


def test_metadata_as_other_programs_write_it(corpus):
    # Windows line endings, a byte order mark, quotes, blank lines.
    root, tables = corpus
    path = metadata_path(root, "train")
    expected = read_metadata(path, "train")
    lines = []
    for line in csv.reader(path.read_text().splitlines()):
        lines.append(",".join(f'" {cell} "' for cell in line))
    path.write_text(
        "\r\n".join(lines) + "\r\n\r\n", encoding="utf-8-sig", newline=""
    )
    pd.testing.assert_frame_equal(read_metadata(path, "train"), expected)
    assert list(expected.row) == [2, 3, 4, 5]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    assert list(read_metadata(path, "train").row) == [3, 5, 7, 9]
    assert list(expected.mixFile) == list(tables["train"].mixFile)


def test_metadata_in_the_root_of_a_renamed_corpus(corpus, tmp_path):
    root, _ = corpus
    moved = root.rename(tmp_path / "Downloads of mine")
    for split in ("train", "val", "test"):
        name = f"corpus_PolSESS_T_{split}_final.csv"
        shutil.move(moved / split / name, moved / name)
        assert find_metadata(moved)[split] == moved / name
