"""Levels of estimates: those of least squares, and no noise made loud."""

import numpy as np
import pytest
import torch
from fake_separators import halves, noise
from polsess.inference.overlap_add import LevelFit


def fit(estimates, mixture, chunk=1000):
    """Fit levels to signals that come in chunks."""
    levels = LevelFit()
    for start in range(0, len(mixture), chunk // 2):
        part = slice(start, start + chunk)
        levels.add(estimates[part], mixture[part], start)
    return levels.level()


def apply(level, estimates):
    """Bring estimates to a level."""
    return level.apply(estimates.numpy(), 0, len(estimates))


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
    gains = fit(estimates, mixture, chunk=9000).gains
    assert gains == pytest.approx(expected, abs=2e-3)


def test_the_sum_is_not_louder_than_the_mixture():
    for seed in range(20):
        mixture = random(3000, seed=seed)
        # From estimates that hold nothing of the mixture to nearly equal ones.
        own = random(3000, 2, seed=100 + seed)
        estimates = own + random(3000, 1, seed=200 + seed) * seed
        estimates = estimates + mixture[:, None] * (seed % 4)
        total = apply(fit(estimates, mixture), estimates).sum(axis=1)
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
    pause = apply(level, estimates)[2000:6000].sum(axis=1)
    assert pause.std() < 0.2 * background.std().item()


def test_an_offset_changes_nothing():
    signals = torch.from_numpy(halves(noise(4000)))
    estimates = 2 * signals + torch.tensor([3.0, -1.0])
    level = fit(estimates, signals.sum(dim=1) + 0.5)
    assert level.gains == pytest.approx([0.5, 0.5])
    assert level.factors == pytest.approx([1] * len(level.factors))


@pytest.mark.parametrize("value", [0.0, 0.3, 1e4])
def test_silence_and_constants_have_no_level(value):
    level = fit(torch.full((5000, 2), value), torch.zeros(5000))
    assert level.gains.tolist() == [0, 0]
    assert np.isfinite(level.factors).all()


def test_equal_estimates_share_the_level():
    mixture = random(2000)
    gains = fit(torch.stack([mixture, mixture], dim=1), mixture).gains
    assert gains == pytest.approx([0.5, 0.5])


def loud_pause():
    """Make estimates that are too loud while nobody speaks, and a mixture."""
    speech, background = random(20_000, 2), 0.1 * random(20_000, seed=1)
    speech[8000:12_000] = 0
    mixture = speech.sum(dim=1) + background
    estimates = speech / 4 + 0.01 * background[:, None]
    estimates[8000:12_000] *= 60
    return estimates, mixture


def test_what_would_be_louder_than_the_mixture_is_turned_down():
    estimates, mixture = loud_pause()
    total = apply(fit(estimates, mixture), estimates).sum(axis=1)
    pause = slice(8500, 11_500)
    assert total[pause].std() < 1.05 * mixture[pause].std()
    for part in (slice(0, 7000), slice(13_000, 20_000)):
        expected = mixture[part].std().item()
        assert total[part].std() == pytest.approx(expected, rel=0.1)


def test_places_depend_neither_on_the_rate_nor_on_blocks():
    estimates, mixture = loud_pause()
    level = fit(estimates, mixture)
    whole = apply(level, estimates)
    parts = [
        level.apply(estimates[start : start + 1700].numpy(), start, 20_000)
        for start in range(0, 20_000, 1700)
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    doubled = apply(level, estimates.repeat_interleave(2, dim=0))
    assert doubled[::2] == pytest.approx(whole, abs=2e-3)
