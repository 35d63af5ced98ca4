"""The pictures of separated mixtures, and of a conversation."""

import json

import numpy as np
import pytest
import soundfile
from experiments.figures import read_audio
from matplotlib.image import imread
from matplotlib.text import Text
from plot_separation import draw, main
from polsess.errors import UserError
from polsess.inference.diarization import Turn, write_rttm

NAMES = ["mixture", "source1", "source2", "estimate1", "estimate2"]


def write_mixture(folder):
    """Write five seconds-long tones, each an octave up."""
    folder.mkdir(parents=True)
    time = np.arange(8000) / 8000
    for number, name in enumerate(NAMES):
        tone = 0.1 * np.sin(2 * np.pi * 200 * 2**number * time)
        soundfile.write(folder / f"{name}.wav", tone, 8000)


def test_a_row_a_mixture_and_a_column_a_file(tmp_path):
    for name in ("001_SER", "002_SE"):
        write_mixture(tmp_path / "audio" / name)
    assert list(read_audio(tmp_path / "audio" / "002_SE")) == NAMES
    picture = tmp_path / "new" / "picture.png"
    main([str(tmp_path / "audio"), "--output", str(picture)])
    height, width, _ = imread(picture).shape
    assert width > 2 * height
    bright = (imread(picture)[..., 0] > 0.8) & (imread(picture)[..., 1] < 0.9)
    # The tones: something bright in each fifth of the picture.
    assert all(
        part.any() for part in np.array_split(bright[height // 2 :], 5, axis=1)
    )


def test_scores_stand_in_the_picture_and_levels_on_a_scale(monkeypatch):
    time = np.arange(8000) / 8000
    one, two = (np.sin(2 * np.pi * pitch * time) for pitch in (300, 500))
    # Orthogonal: the ratio of the amplitudes is the SI-SDR.
    signals = [10 * one + two, one, two, one + two / 10, two + one / 100]
    audio = dict(zip(NAMES, ((s, 8000) for s in signals), strict=True))
    drawn = []
    monkeypatch.setattr(
        "plot_separation.save_figure", lambda f, _: drawn.append(f)
    )
    draw({"001_C": audio}, None)
    texts = [text.get_text() for text in drawn[0].findobj(Text)]
    assert any("dB before separation, 30.0 dB after" in t for t in texts)
    assert any(t.endswith("1 separated: 20.0 → 20.0 dB") for t in texts)
    assert any(t.endswith("2 separated: -20.0 → 40.0 dB") for t in texts)
    assert "level (dB)" in texts


@pytest.fixture
def conversation(tmp_path):
    """Write 9 s of a conversation: jan is silent until 6 s."""
    tone = np.sin(2 * np.pi * 300 * np.arange(9 * 8000) / 8000)
    streams = {"anna": 0.1 * tone, "jan": 0.1 * tone}
    streams["jan"][: 6 * 8000] = 0
    for speaker, samples in streams.items():
        soundfile.write(tmp_path / f"a_{speaker}.wav", samples, 8000)
    soundfile.write(tmp_path / "a.flac", sum(streams.values()), 8000)
    turns = [Turn("anna", 0, 6.5), Turn("jan", 6, 9), Turn("anna", 8, 9)]
    write_rttm(tmp_path / "a.rttm", "a", turns)
    overlaps = [{"seconds": 6, "end": 6.5}, {"seconds": 8, "end": 9}]
    content = {
        "recording": str(tmp_path / "a.flac"),
        "channel": "mean",
        "audio_seconds": 9.0,
        "speakers": {name: f"a_{name}.wav" for name in streams},
        "overlaps": overlaps,
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    return tmp_path / "a.json"


def spans_of(bars):
    """List the spans of bars, by their colour."""
    return [
        [
            tuple(np.round(path.get_extents().intervalx, 3))
            for path in collection.get_paths()
        ]
        for collection in bars.collections
    ]


def test_a_conversation(conversation, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "plot_separation.save_figure", lambda f, _: drawn.append(f)
    )
    main([str(conversation)])
    bars, *pictures = drawn[0].axes[:4]
    titles = [axis.get_title() for axis in pictures]
    assert titles == ["the recording", "anna", "jan"]
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names == ["anna", "jan", "was separated"]
    assert spans_of(bars) == [
        [(0, 6.5), (8, 9)],
        [(6, 9)],
        [(6, 6.5), (8, 9)],
    ]
    # From 5 s before the first overlap
    assert bars.get_xlim() == (1, 9)
    (image,) = pictures[2].images
    assert image.get_extent() == [1, 9, 0, 4]
    levels = image.get_array().max(axis=0)
    begin = len(levels) * 5 // 8
    assert levels[: begin - 5].max() < -70 < -40 < levels[begin + 5 :].min()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"speakers": None}, "no streams of speakers"),
        ({"recording": "gone.wav"}, "gone.wav: cannot be read"),
    ],
)
def test_a_conversation_that_cannot_be_drawn(conversation, changes, named):
    content = json.loads(conversation.read_text()) | changes
    conversation.write_text(json.dumps(content))
    with pytest.raises(UserError, match=named):
        main([str(conversation)])


@pytest.mark.parametrize("content", [None, "not audio"])
def test_mistakes_are_named(tmp_path, content):
    if content:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "mixture.wav").write_text(content)
    with pytest.raises(UserError, match=str(tmp_path)):
        main([str(tmp_path), "--output", str(tmp_path / "x.png")])


def test_a_missing_estimate_is_told(tmp_path):
    write_mixture(tmp_path / "001_C")
    (tmp_path / "001_C" / "estimate2.wav").unlink()
    with pytest.raises(UserError, match="001_C/estimate2.wav"):
        main([str(tmp_path), "--output", str(tmp_path / "x.png")])
