"""The Mamba layer on the CPU: exactness, and everything it may be run in."""

import multiprocessing

import numpy as np
import pytest
import torch
from numba.core.caching import CacheImpl
from polsess.models.mamba import cpu
from polsess.models.mamba.cpu import mamba_on_cpu
from small_mamba import (
    in_double,
    make_inputs,
    relative_errors,
    results,
    sequential_mamba,
    transposed,
)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 1, 8), {}),  # one step
        ((3, 7, 5), {"n_states": 3, "width": 3}),  # odd sizes
        ((1, 33, 8), {"n_states": 1, "width": 2}),  # a chunk and a step
        ((3, 100, 12), {"n_states": 16}),  # several chunks
        ((70, 20, 4), {}),  # several slabs
    ],
)
def test_output_and_gradients_are_those_of_the_equations(
    shape, options, monkeypatch
):
    monkeypatch.setattr(cpu, "SLAB_STEPS", 500)
    inputs = make_inputs(*shape, **options)
    expected = results(sequential_mamba, in_double(inputs))
    errors = relative_errors(results(mamba_on_cpu, inputs), expected)
    assert errors[0] < 1e-5
    assert max(errors[1:]) < 1e-4


def test_large_and_small_step_sizes_are_exact():
    inputs = make_inputs(2, 40, 8)
    with torch.no_grad():
        inputs[6].copy_(torch.linspace(-30, 80, 16))  # their bias
    expected = results(sequential_mamba, in_double(inputs))
    errors = relative_errors(results(mamba_on_cpu, inputs), expected)
    assert errors[0] < 1e-5
    assert max(errors[1:]) < 1e-4


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    inputs = make_inputs(41, 50, 8)
    found = {}
    for threads in (1, 2, 3):
        # Of the scan's threads: torch itself may round otherwise with more.
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        found[threads] = results(mamba_on_cpu, inputs)
    for threads in (2, 3):
        assert all(map(torch.equal, found[1], found[threads]))


def test_any_memory_layout():
    inputs = make_inputs(6, 10, 8)
    expected = results(mamba_on_cpu, inputs)
    strided = [transposed(tensor) for tensor in inputs]
    assert not strided[0].is_contiguous()
    found = results(mamba_on_cpu, strided)
    assert all(map(torch.equal, found, expected))
    expanded = inputs[0][:1].expand(6, -1, -1)
    output = mamba_on_cpu(expanded, *inputs[1:])
    assert torch.equal(output[0], output[5])


def test_little_is_kept_for_the_backward_pass_and_nothing_without():
    inputs = make_inputs(4, 320, 16, n_states=16)
    kept = []

    def note(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        mamba_on_cpu(*inputs)
        batch, length, d_model = inputs[0].shape
        one_of_each_step = batch * length * 2 * d_model
        assert 0 < sum(kept) < 2 * one_of_each_step
        kept.clear()
        with torch.no_grad():
            mamba_on_cpu(*inputs)
        mamba_on_cpu(*[tensor.detach() for tensor in inputs])
    assert not kept


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_swallowed(value):
    inputs = [tensor.detach() for tensor in make_inputs(2, 50, 8)]
    inputs[0][1, 20, 3] = value
    output = mamba_on_cpu(*inputs)
    assert output[0].isfinite().all()
    assert output[1, :20].isfinite().all()
    assert output[1, 20:].isnan().all()


def test_gradients_that_are_not_finite_are_not_swallowed():
    inputs = make_inputs(2, 50, 8)
    output = mamba_on_cpu(*inputs)
    direction = torch.ones_like(output)
    direction[1, 20, 3] = float("nan")
    gradient, *others = torch.autograd.grad(output, inputs, direction)
    assert gradient[0].isfinite().all()
    assert gradient[1, 21:].isfinite().all()
    assert gradient[1, :21].isnan().all()
    assert all(other.isnan().any() for other in others)


def train_in_child(inputs, queue):
    """Go forward and backward in a forked process."""
    gradients = results(mamba_on_cpu, inputs)
    queue.put([gradient.detach().numpy() for gradient in gradients])


def test_in_a_forked_process():
    inputs = make_inputs(4, 20, 8)
    torch.set_num_threads(2)
    expected = results(mamba_on_cpu, inputs)  # threads were used before
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=train_in_child, args=(inputs, queue))
    child.start()
    found = queue.get(timeout=60)
    child.join(timeout=60)
    torch.set_num_threads(1)
    assert child.exitcode == 0
    for gradient, other in zip(found, expected, strict=True):
        assert torch.allclose(torch.tensor(gradient), other, atol=1e-6)


def test_compiled_code_is_kept_on_disk_where_that_is_possible(monkeypatch):
    mamba_on_cpu(*make_inputs(1, 2, 4))
    assert cpu._scan.stats.cache_path
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])

    @cpu.compiled
    def double(numbers):
        for i in range(numbers.size):
            numbers[i] *= 2

    numbers = np.ones(2)
    double(numbers)
    assert list(numbers) == [2, 2]
