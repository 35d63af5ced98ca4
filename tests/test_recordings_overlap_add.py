"""Chunks put together: exactly, in one order, at one level."""

import numpy as np
import pytest
import torch
from fake_separators import Halves, Unreliable, halves, noise
from polsess.inference.overlap_add import (
    LEVEL,
    OverlapAdd,
    find_order,
    make_window,
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
@pytest.mark.parametrize("length", [0, 2, 399, 400, 401, 600, 1001, 1777])
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


def test_a_single_sample_is_a_single_sample():
    estimates, _ = run(Halves(), noise(1))
    assert estimates.shape == (1, 2)
    assert np.isfinite(estimates).all()


def test_one_source_has_a_level_but_no_order():
    mixture = noise(1500)
    estimates, chunks = run(lambda part: -3 * part.unsqueeze(-1), mixture)
    assert estimates[:, 0] == pytest.approx(mixture, abs=1e-5)
    assert {chunk.margin for chunk in chunks} == {None}


def test_neighbouring_windows_add_up_to_one():
    window = make_window(400, 150)
    assert (window > 0).all()
    assert window[150:250].eq(1).all()
    assert (window[:150] + window[250:]).flatten().tolist() == pytest.approx(
        [1] * 150
    )


def test_an_offset_does_not_change_the_order():
    signals = torch.from_numpy(halves(noise(4000)))
    order, margin = find_order(signals, signals.flip(1) + torch.tensor([3, -1]))
    assert order == (1, 0)
    assert margin == pytest.approx(find_order(signals, signals.flip(1))[1])


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


def test_of_equal_estimates_no_order_is_surer():
    signal = torch.from_numpy(noise(300))
    _, margin = find_order(*[torch.stack([signal, signal], dim=1)] * 2)
    assert margin == pytest.approx(0, abs=1e-9)


def test_three_sources_are_followed():
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(500, 3, generator=generator)
    order, margin = find_order(before, before[:, [2, 0, 1]])
    assert order == (1, 2, 0)
    assert margin > 0.3


def test_estimates_that_are_not_finite_are_an_error():
    parts = iter([noise(400), noise(200), noise(200)])
    factors = iter([1.0, float("nan")])
    separation = OverlapAdd(lambda x: Halves()(x) * next(factors), 400, 200)
    with pytest.raises(FloatingPointError, match="not finite"):
        list(separation.blocks(lambda count: next(parts)))
    assert separation.position == 200
