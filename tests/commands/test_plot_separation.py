"""The picture of separated mixtures."""

import numpy as np
import pytest
import soundfile
from experiments.figures import read_audio
from matplotlib.image import imread
from plot_separation import main
from polsess.errors import UserError

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


@pytest.mark.parametrize("content", [None, "not audio"])
def test_mistakes_are_named(tmp_path, content):
    if content:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "mixture.wav").write_text(content)
    with pytest.raises(UserError, match=str(tmp_path)):
        main([str(tmp_path), "--output", str(tmp_path / "x.png")])
