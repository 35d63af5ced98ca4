"""Levels of estimates: those of least squares, and no noise made loud."""

import numpy as np
import pytest
import torch
from fake_separators import halves, noise
from levels import LevelFit


def fit(estimates, mixture, block=1000):
    """Fit levels to signals that come in blocks."""
    levels = LevelFit()
    blocks = estimates.split(block), mixture.split(block)
    for part, whole in zip(*blocks, strict=True):
        levels.add(part, whole)
    return levels.level()


def random(*shape, seed=0):
    """Draw signals."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_gains_are_those_of_least_squares():
    estimates = random(4500, 2)
    mixture = estimates @ torch.tensor([0.5, 0.6]) + 0.3 * random(4500, seed=1)
    expected = np.linalg.lstsq(
        (estimates - estimates.mean(0)).double().numpy(),
        (mixture - mixture.mean()).double().numpy(),
    )[0]
    assert fit(estimates, mixture).gains == pytest.approx(expected, abs=2e-3)


def test_the_sum_is_not_louder_than_the_mixture():
    for seed in range(20):
        mixture = random(3000, seed=seed)
        # From estimates that hold nothing of the mixture to nearly equal ones.
        own = random(3000, 2, seed=100 + seed)
        estimates = own + random(3000, 1, seed=200 + seed) * seed
        estimates = estimates + mixture[:, None] * (seed % 4)
        total = fit(estimates, mixture).apply(estimates.numpy()).sum(axis=1)
        assert np.linalg.norm(total) <= np.linalg.norm(mixture)


def test_a_silent_speakers_residue_is_not_made_loud():
    speech, background = random(2, 4000)
    mixture = speech + 0.5 * background
    # A little of the background is left where nobody speaks: by least squares
    # alone it would get all the level of the background.
    gains = fit(torch.stack([2 * speech, 0.05 * background], 1), mixture).gains
    assert gains[0] == pytest.approx(0.5, rel=0.05)
    assert 0.4 < gains[1] < 2


def test_noise_that_was_taken_away_stays_away_in_a_pause():
    speech, background = random(8000, 2), 0.3 * random(8000, seed=1)
    speech[2000:6000] = 0
    mixture = speech.sum(dim=1) + background
    estimates = speech / 4 + 0.02 * background[:, None]
    level = fit(estimates, mixture)
    assert level.gains == pytest.approx([4, 4], rel=0.1)
    pause = level.apply(estimates.numpy())[2000:6000].sum(axis=1)
    assert pause.std() < 0.2 * background.std().item()


def test_an_offset_changes_nothing():
    signals = torch.from_numpy(halves(noise(4000)))
    estimates = 2 * signals + torch.tensor([3.0, -1.0])
    level = fit(estimates, signals.sum(dim=1) + 0.5)
    assert level.offsets == pytest.approx([3, -1], abs=1e-6)
    assert level.gains == pytest.approx([0.5, 0.5])
    assert level.apply(estimates.numpy()) == pytest.approx(
        signals.numpy(), abs=1e-6
    )


@pytest.mark.parametrize("value", [0.0, 0.3, 1e4])
def test_silence_and_constants_are_silent(value):
    estimates = torch.full((5000, 2), value)
    level = fit(estimates, torch.zeros(5000))
    assert level.gains.tolist() == [0, 0]
    assert np.abs(level.apply(estimates.numpy())).max() == 0


def test_equal_estimates_share_the_level():
    mixture = random(2000)
    gains = fit(torch.stack([mixture, mixture], dim=1), mixture).gains
    assert gains == pytest.approx([0.5, 0.5])
