"""Chunks put together: exactly, in one order, at the right level."""

import numpy as np
import pytest
import torch
from fake_separators import Halves, Unreliable, halves, noise
from polsess.inference.overlap_add import (
    LEVEL,
    LevelFit,
    OverlapAdd,
    find_order,
)


def run(separator, mixture, chunk=400, overlap=200):
    """Separate an array; return estimates and what is known of the chunks."""
    position = 0

    def read(count):
        nonlocal position
        position += count
        return mixture[position - count : position]

    separation = OverlapAdd(separator, chunk, overlap)
    blocks = list(separation.blocks(read))
    if not blocks:
        return np.zeros((0, 2)), separation.chunks
    estimates = np.concatenate(blocks)
    estimates -= estimates.mean(axis=0)
    level = separation.levels.level()
    return level.apply(estimates, 0, len(estimates)), separation.chunks


@pytest.mark.parametrize("overlap", [1, 57, 200, 333, 399])
@pytest.mark.parametrize("length", [0, 1, 2, 399, 400, 401, 600, 1001, 1777])
def test_any_length_is_put_together_exactly(length, overlap):
    if overlap == 399:
        length = min(length, 600)  # a chunk for each sample
    mixture = noise(length)
    estimates, _ = run(Halves(), mixture, overlap=overlap)
    assert estimates.shape == (length, 2)
    assert estimates == pytest.approx(halves(mixture), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_order_level_and_sign_are_restored(seed):
    mixture = noise(20_000, seed)
    separator = Unreliable(seed)
    estimates, chunks = run(separator, mixture)
    first = separator.orders[0]
    assert estimates == pytest.approx(halves(mixture)[:, first], abs=1e-5)
    assert len(set(separator.orders)) == 2
    assert [chunk.start for chunk in chunks] == list(range(0, 19_601, 200))
    assert chunks[0].margin is None
    assert min(chunk.margin for chunk in chunks[1:]) > 0.3


def test_one_source_has_a_level_but_no_order():
    mixture = noise(1500)
    estimates, chunks = run(lambda part: -3 * part.unsqueeze(-1), mixture)
    assert estimates[:, 0] == pytest.approx(mixture, abs=1e-5)
    assert {chunk.margin for chunk in chunks} == {None}


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_three_sources_are_followed(offset):
    before = random(500, 3)
    after = before[:, [2, 0, 1]] + torch.tensor([0, offset, -offset])
    order, margin = find_order(before, after)
    assert order == (1, 2, 0)
    assert margin > 0.3


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e30])
def test_a_separator_gets_every_chunk_at_one_level(scale):
    levels = []

    def separate(part):
        levels.append(part.square().mean().sqrt().item())
        return Halves()(part)

    mixture = noise(1200) * np.float32(scale)
    estimates, _ = run(separate, mixture)
    assert levels == pytest.approx([LEVEL] * len(levels))
    assert estimates / scale == pytest.approx(halves(noise(1200)), abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_silence_and_constants_are_finite_and_uncertain(level):
    mixture = np.full(2000, level, np.float32)
    estimates, chunks = run(Unreliable(), mixture)
    assert np.isfinite(estimates).all()
    assert np.abs(estimates).max() <= level + 1e-6
    assert all(chunk.margin < 0.1 for chunk in chunks[1:])


def test_after_a_silence_the_order_is_the_one_before():
    mixture = noise(4000)
    mixture[800:3000] = 0
    swapped = iter([False] + [True] * 30)

    def separate(part):
        estimates = Halves()(part)
        return estimates.flip(2) if next(swapped) else estimates

    estimates, chunks = run(separate, mixture)
    assert {chunk.margin for chunk in chunks[5:13]} == {0.0}
    assert estimates == pytest.approx(halves(mixture), abs=1e-6)


def test_estimates_that_are_not_finite_are_an_error():
    parts = iter([noise(400), noise(200), noise(200)])
    factors = iter([1.0, float("nan")])
    separation = OverlapAdd(lambda x: Halves()(x) * next(factors), 400, 200)
    with pytest.raises(FloatingPointError, match="of chunk 2 are not finite"):
        list(separation.blocks(lambda count: next(parts)))


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


def test_equal_estimates_share_the_level():
    mixture = random(2000)
    gains = fit(torch.stack([mixture, mixture], dim=1), mixture).gains
    assert gains == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("value", [0.0, 0.3, 1e4])
def test_silence_and_constants_have_no_level(value):
    level = fit(torch.full((5000, 2), value), torch.zeros(5000))
    assert level.gains.tolist() == [0, 0]
    assert np.isfinite(level.factors).all()


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
