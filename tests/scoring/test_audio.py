"""Audio to listen to."""

import numpy as np
import pytest
import soundfile
import torch
from polsess.errors import UserError
from polsess.scoring.audio import at_mixture_level, write_example


def test_estimates_get_the_level_they_have_in_the_mixture():
    sources = torch.randn(8000, 2) * torch.tensor([0.1, 0.05])
    mixture = sources.sum(-1)
    scaled = at_mixture_level(sources * torch.tensor([-30.0, 0.02]), mixture)
    torch.testing.assert_close(scaled, sources, atol=5e-3, rtol=0)


def test_what_both_estimates_hold_is_not_counted_twice():
    speech = 0.1 * torch.randn(8000, 2)
    noise = 0.1 * torch.randn(8000, 1)
    estimates = 5 * (speech + noise / 2)
    scaled = at_mixture_level(estimates, (speech + noise / 2).sum(-1))
    torch.testing.assert_close(scaled, estimates / 5, atol=1e-4, rtol=0)


def test_half_precision_estimates_are_not_lost():
    estimates = torch.randn(32000, 1)
    mixture = 0.1 * estimates[:, 0]
    scaled = at_mixture_level(estimates.half(), mixture)
    torch.testing.assert_close(scaled[:, 0], mixture, atol=1e-3, rtol=0)


def test_silent_estimates_stay_silent():
    scaled = at_mixture_level(torch.zeros(100, 2), torch.randn(100))
    assert torch.equal(scaled, torch.zeros(100, 2))


def test_files_hold_what_their_names_say(tmp_path):
    targets = 0.1 * torch.randn(4000, 2)
    mixture = targets.sum(-1)
    write_example(tmp_path / "new" / "a", mixture, targets, targets, 8000)
    files = {
        path.name: soundfile.read(path, always_2d=True)
        for path in (tmp_path / "new" / "a").iterdir()
    }
    assert sorted(files) == [
        "estimate1.wav",
        "estimate2.wav",
        "mixture.wav",
        "source1.wav",
        "source2.wav",
    ]
    assert all(rate == 8000 for _, rate in files.values())
    source = files["source2.wav"][0][:, 0]
    np.testing.assert_allclose(source, targets[:, 1], atol=2**-14)


def test_too_loud_estimates_are_limited_not_wrapped(tmp_path):
    mixture = torch.full((100,), 3.0)
    targets = torch.full((100, 1), 3.0)
    write_example(tmp_path, mixture, targets, targets, 8000)
    estimate, _ = soundfile.read(tmp_path / "estimate1.wav")
    assert estimate.min() > 0.99


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "audio").write_text("")
    signal = torch.zeros(10, 1)
    with pytest.raises(UserError, match="audio: cannot be written"):
        write_example(tmp_path / "audio", signal[:, 0], signal, signal, 8000)
