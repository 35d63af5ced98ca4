"""tools/make_corpus.py with recordings and options that cannot work."""

import shutil

import numpy as np
import pytest
import soundfile
from corpus.audio import active_rms
from corpus.recordings import Recording, read_part, set_level
from make_corpus import read_options
from polsess.errors import UserError
from polsess.files import read_json
from small_made_corpora import hash_files, make, read_components, read_rows
from small_recordings import SIZES, write_audio, write_recordings


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine")
    write_recordings(folder)
    return folder


@pytest.fixture
def spoilable(pristine, tmp_path):
    """A folder with recordings that a test may change, and the options."""
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    options = [
        text
        for kind in ("speech", "scenes", "events")
        for text in (f"--{kind}", str(tmp_path / kind))
    ]
    return tmp_path, options


def test_changed_recordings_are_refused_on_restart(spoilable):
    folder, options = spoilable
    root = folder / "corpus"
    make(root, *SIZES, *options)
    for path in root.rglob("corpus_*.csv"):
        path.unlink()
    write_audio(folder / "speech/s0/new.wav", 5, 8000, pitch=100)
    with pytest.raises(UserError, match=r"other files \(speech was"):
        make(root, *SIZES, *options)


def remove(*patterns):
    """Make a function that removes files."""

    def spoil(folder):
        for pattern in patterns:
            for path in folder.glob(pattern):
                path.unlink()

    return spoil


def truncate(name):
    """Make a function that cuts a file in two."""

    def spoil(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return spoil


def add(name, samples=None):
    """Make a function that writes a recording, of noise by default."""
    if samples is None:
        return lambda folder: write_audio(folder / name, 5, 8000)
    return lambda folder: soundfile.write(folder / name, samples, 8000, "FLOAT")


def no_fitting_event(folder):
    (folder / "events").rename(folder / "other events")
    for number in range(3):
        write_audio(folder / f"events/rooster/{number}.wav", 1, 8000)


@pytest.mark.parametrize(
    ("spoil", "tells"),
    [
        (remove("speech/*/*/*"), r"--speech .*no audio file"),
        (remove("speech/s[1-9]/*/*"), "--speech .*too little is left for"),
        (
            truncate("scenes/Street Traffic/1.wav"),
            r"Traffic.1\.wav: is cut off",
        ),
        (
            lambda folder: (folder / "scenes/car/0.ogg").write_text("no"),
            r"car.0\.ogg: cannot be read",
        ),
        (
            add("events/cough/n.wav", [0, np.nan]),
            r"cough.n\.wav: is damaged at 0",
        ),
        (add("events/stray.wav"), r"--events .*stray\.wav lies directly in it"),
        (add("scenes/moon base/0.wav"), r"--scenes: .*moon base.*tables\.yaml"),
        (
            remove("scenes/*/[12].*", "scenes/car/*"),
            r"--scenes .*left for the val",
        ),
        (no_fitting_event, r"none of the events \(rooster\) fits"),
    ],
)
def test_bad_recordings_are_named(spoilable, spoil, tells):
    folder, options = spoilable
    spoil(folder)
    with pytest.raises(UserError, match=tells):
        make(folder / "corpus", *SIZES, *options)
    assert not (folder / "corpus").exists()


def test_recordings_too_loud_to_be_added_up_are_explained(
    spoilable, monkeypatch
):
    monkeypatch.setattr("corpus.mixtures.MOST_ATTEMPTS", 20)
    folder, options = spoilable
    square = np.sign(np.sin(np.arange(5 * 8000) / 9))
    for path in (folder / "speech").rglob("*.flac"):
        soundfile.write(path, square, 8000)
    with pytest.raises(UserError, match=r"clipping.* 20.*--level -26"):
        make(folder / "corpus", *SIZES, *options)
    assert not list((folder / "corpus").rglob("corpus_*.csv"))


def test_silent_files_are_left_out_by_name(spoilable):
    folder, options = spoilable
    soundfile.write(folder / "speech/s0/a.wav", np.zeros(8000), 8000)
    told = make(folder / "corpus", *SIZES, *options)
    assert "--speech: left out as silent, 1: s0/a.wav" in told


@pytest.mark.parametrize(
    ("arguments", "tells"),
    [
        (("--speech", "nowhere"), "--speech nowhere: there is no such folder"),
        (("--tables", "nowhere.yaml"), "--tables nowhere.yaml cannot be used"),
    ],
)
def test_bad_options_are_named(tmp_path, arguments, tells):
    with pytest.raises(UserError, match=tells):
        make(tmp_path / "corpus", *SIZES, *arguments)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("option", "value", "limits"),
    [
        ("--duration", "-4", "from 0.5 to 60"),
        ("--duration", "nan", "from 0.5 to 60"),
        ("--level", "3", "from -60 to -20"),
        ("--level", "-99", "from -60 to -20"),
    ],
)
def test_numbers_have_limits(option, value, limits, capsys):
    with pytest.raises(SystemExit):
        read_options(["corpus", *SIZES, option, value])
    told = f"argument {option}: give a number {limits}"
    assert told in capsys.readouterr().err


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("my only copy")
    with pytest.raises(UserError, match="not made by this tool"):
        make(tmp_path, *SIZES)
    for folder in ("thesis.txt", "thesis.txt/corpus"):
        with pytest.raises(OSError, match=r"thesis\.txt"):
            make(tmp_path / folder, *SIZES)
    assert hash_files(tmp_path).keys() == {"thesis.txt"}


def scale_speech(folder, peak):
    """Scale the speech to a peak; each speaker by 2 dB more than the last."""
    for number, speaker in enumerate(sorted((folder / "speech").iterdir())):
        for path in speaker.rglob("*.flac"):
            samples, rate = soundfile.read(path)
            gain = peak / abs(samples).max() * 10 ** (-number / 10)
            soundfile.write(path, gain * samples, rate)


def test_loud_speech_leaves_the_classes_their_shares(spoilable):
    folder, options = spoilable
    sizes = ("--train", "30", "--valid", "1", "--test", "1", "--jobs", "1")
    sizes += ("--duration", "1")
    classes, thrown_away = [], []
    for number, peak in enumerate((0.1, 0.9)):
        scale_speech(folder, peak)
        root = folder / f"corpus{number}"
        told = make(root, *sizes, *options)
        rows = read_rows(root, "train")
        classes.append([row["sceneClass"] for row in rows])
        made = read_json(root / "make_corpus.json")["made"]["train"]
        thrown_away.append(made["thrown_away"])
        share = classes[-1].count("car") / 30
        assert made["scenes"]["car"] == pytest.approx(share, abs=1e-4)
        assert made["environments"]["indoor"] == made["scenes"]["car"]
        assert made["events"].keys() == {"car-horn", "cough"}
        mixtures = [
            read_components(root, "train", row)["mix"].std() for row in rows
        ]
        level = 20 * np.log10(np.median(mixtures))
        assert made["levels"]["mixture"][1] == pytest.approx(level, abs=0.1)
        level = made["levels"]["mixture"][1]
        assert f"car {share:.0%}" in told and f"mixture {level:.1f}" in told
    assert thrown_away[0] == 0 and thrown_away[1] > 10
    assert classes[0] == classes[1]


def test_speech_of_one_level(spoilable):
    folder, options = spoilable
    scale_speech(folder, 0.9)
    arguments = ["corpus", *SIZES, *options, "--level", "-30"]
    for path in (folder / "speech").rglob("*.flac"):
        samples, rate = soundfile.read(path)
        recording = Recording(str(path), "a", "s", len(samples), rate)
        levelled = set_level(read_options(arguments), recording)
        samples = read_part(levelled, 0, len(samples), 8000)
        assert active_rms([samples], 8000) == pytest.approx(10 ** (-30 / 20))
    make(folder / "corpus", *SIZES, *options, "--level", "-30")
    made = read_json(folder / "corpus/make_corpus.json")
    assert made["options"]["level"] == -30
    low, _, high = made["made"]["train"]["levels"]["speaker1"]
    assert -31 < low <= high < -29
    with pytest.raises(UserError, match="--level: is for .* --speech"):
        read_options(["corpus", *SIZES, "--level", "-26"])
