"""The Mamba layer on all backends: exactness, precision, choice."""

import os
import re
import subprocess
import sys
import types
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
from polsess.models import mamba
from polsess.models.mamba import BACKENDS, Mamba, choose_backend
from small_mamba import (
    in_double,
    make_inputs,
    relative_errors,
    results,
    sequential_mamba,
    transposed,
)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
# The rest is tested in another process, see `test_triton_in_its_interpreter`.
NAMES = ["triton"] if INTERPRETED else ["cpu", "torch", "mamba_ssm"]


@pytest.fixture
def fake_mamba_ssm(monkeypatch):
    """Stands for mamba-ssm, with its layout and order of arguments."""
    calls = []

    def mamba_inner_fn(xz, *arguments, delta_bias, delta_softplus):
        weights, (rates, inward, outward, skip) = arguments[:6], arguments[6:]
        *projections, out_weight, bias = weights
        assert bias is inward is outward is None
        assert delta_softplus
        calls.append([xz, *projections, out_weight, rates, skip, delta_bias])
        assert all(t.is_contiguous() for t in calls[-1])
        return sequential_mamba(
            xz.transpose(1, 2),
            torch.eye(xz.shape[1], dtype=xz.dtype),
            *projections,
            delta_bias,
            rates,
            skip,
            out_weight,
        )

    package = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    package.mamba_inner_fn = mamba_inner_fn
    for name in ("causal_conv1d", "mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, package.__name__, package)
    return calls


@pytest.fixture(params=NAMES)
def both_directions(request, monkeypatch):
    """Each backend in turn."""
    if request.param == "mamba_ssm":
        request.getfixturevalue("fake_mamba_ssm")
    if request.param == "triton":
        from polsess.models.mamba import triton

        # The interpreter takes 0.2 ms for each number of a tile.
        monkeypatch.setitem(triton.SCAN, "CHANNELS", 4)
    return BACKENDS[request.param]


@pytest.fixture
def backend(both_directions):
    """Each backend in turn, for one direction."""
    return partial(in_one_direction, both_directions)


def in_one_direction(both_directions, hidden, *weights):
    """Compute the first direction."""
    return both_directions(hidden, *(w[None] for w in weights)).squeeze(0)


def assert_exact(backend, inputs):
    """Compare output and gradients with FP64's."""
    expected = results(sequential_mamba, in_double(inputs))
    errors = relative_errors(results(backend, inputs), expected)
    assert errors[0] < 1e-5
    assert max(errors[1:]) < 1e-4


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 1, 4), {}),  # one step
        ((2, 15, 3), {"n_states": 3, "width": 3}),  # odd sizes
        # Of seed 0 one gradient nearly cancels: there the equations themselves
        # are off by 8e-5 in FP32.
        ((1, 126, 2), {"n_states": 1, "width": 2, "seed": 1}),
        ((1, 498, 1), {"n_states": 2}),
    ],
)
def test_output_and_gradients_are_those_of_the_equations(
    shape, options, backend
):
    assert_exact(backend, make_inputs(*shape, **options))


@pytest.mark.parametrize("length", [1, 18])
def test_the_second_direction_goes_backwards(length, both_directions):
    hidden, *weights = make_inputs(2, length, 3, n_states=3, width=3)
    others = make_inputs(2, length, 3, n_states=3, width=3, seed=1)[1:]
    stacked = [
        torch.stack(pair).detach().requires_grad_()
        for pair in zip(weights, others, strict=True)
    ]

    def expected(hidden, *stacked):
        forwards, backwards = zip(*stacked, strict=True)
        turned = sequential_mamba(hidden.flip(1), *backwards).flip(1)
        return torch.stack([sequential_mamba(hidden, *forwards), turned])

    errors = relative_errors(
        results(both_directions, [hidden, *stacked]),
        results(expected, in_double([hidden, *stacked])),
    )
    assert errors[0] < 1e-5
    assert max(errors[1:]) < 1e-4


def test_large_and_small_step_sizes_and_rates_are_exact(backend):
    inputs = make_inputs(1, 40, 4)
    with torch.no_grad():
        inputs[6].copy_(torch.linspace(-30, 80, 8))  # their bias
        inputs[7][0] = torch.tensor([-1e-6, -1e-3, -100.0, -1e4])
    assert_exact(backend, inputs)


def test_any_memory_layout(backend):
    inputs = make_inputs(2, 18, 2, n_states=2)
    expected = results(backend, inputs)
    strided = [transposed(tensor) for tensor in inputs]
    assert not strided[0].is_contiguous()
    found = results(backend, strided)
    assert max(relative_errors(found, expected)) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype, backend):
    def cast(*inputs):
        with torch.autocast("cpu", dtype=dtype):
            return backend(*inputs)

    inputs = make_inputs(2, 18, 2, n_states=2)
    found, expected = results(cast, inputs), results(backend, inputs)
    assert all(map(torch.equal, found, expected))


def test_bfloat16_in_and_out_but_not_within(backend):
    inputs = make_inputs(2, 20, 2, n_states=2)
    rounded = [tensor.detach().bfloat16().requires_grad_() for tensor in inputs]
    found = results(backend, rounded)
    assert all(tensor.dtype == torch.bfloat16 for tensor in found)
    exact = results(
        backend, [t.detach().float().requires_grad_() for t in rounded]
    )
    errors = relative_errors([tensor.float() for tensor in found], exact)
    # One rounding to 8 bits; the scan in BF16 would be far off.
    assert max(errors) < 2**-7


def test_float64_is_computed_in_float64(backend):
    inputs = in_double(make_inputs(2, 18, 2, n_states=2))
    expected = results(sequential_mamba, inputs)
    assert max(relative_errors(results(backend, inputs), expected)) < 1e-12


@pytest.mark.parametrize("name", {"cpu", "triton"}.intersection(NAMES))
def test_a_second_derivative_is_refused(name):
    inputs = make_inputs(2, 5, 4)
    backend = partial(in_one_direction, BACKENDS[name])
    (gradient,) = torch.autograd.grad(
        backend(*inputs).square().sum(), inputs[:1], create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_swallowed(value, backend):
    inputs = make_inputs(2, 37, 2, n_states=2)
    with torch.no_grad():
        inputs[0][1, 20, 1] = value
    output, gradient, *others = results(backend, inputs)
    for values in (output, gradient):
        assert values[0].isfinite().all()
    assert output[1, :20].isfinite().all()
    assert output[1, 20:].isnan().all()
    assert all(other.isnan().any() for other in others)


def test_the_same_twice(backend):
    inputs = make_inputs(2, 18, 2, n_states=2)
    assert all(
        map(torch.equal, results(backend, inputs), results(backend, inputs))
    )


def test_without_gradients_nothing_is_kept(backend):
    inputs = make_inputs(1, 20, 2, n_states=2)
    expected = backend(*inputs).detach()
    kept = []
    with (
        torch.autograd.graph.saved_tensors_hooks(kept.append, lambda t: t),
        torch.no_grad(),
    ):
        output = backend(*inputs)
    assert not kept
    assert not output.requires_grad
    assert torch.allclose(output, expected, atol=1e-6)


def test_two_backward_passes(backend):
    inputs = make_inputs(1, 20, 2, n_states=2)
    output = backend(*inputs).sum()
    first = torch.autograd.grad(output, inputs, retain_graph=True)
    for one, two in zip(
        first, torch.autograd.grad(output, inputs), strict=True
    ):
        assert torch.equal(one, two)


def test_triton_in_its_interpreter():
    # With numpy 2.4 the interpreter of 3.6 cannot loop.
    pytest.importorskip("triton", minversion="3.8")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider"]
        + ["-k", "triton and not interpreter", str(Path(__file__))],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) >= 14


def test_kernels_fit_registers_of_gpus_that_are_not_here():
    pytest.importorskip("triton.backends.nvidia")
    # 3.6 puts four registers of the backward scan into memory on sm_80.
    pytest.importorskip("triton", minversion="3.8")
    run = subprocess.run(
        [sys.executable, Path(__file__).parents[1] / "compile_mamba.py"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 15
    for line in lines:
        *_, spilled, registers = line.split()
        assert int(spilled) == 0, line
        assert int(registers) <= 255, line


@pytest.fixture
def as_if_on_a_gpu(monkeypatch):
    """Choose anew, where backends for GPUs compute on the CPU."""
    monkeypatch.setattr(mamba, "_FIRST_CHOICES", {"cpu": mamba.ON_CUDA})
    monkeypatch.setitem(BACKENDS, "triton", BACKENDS["cpu"])
    mamba._find_backend.cache_clear()
    yield
    mamba._find_backend.cache_clear()


def test_mamba_ssm_is_chosen_where_it_works(as_if_on_a_gpu, fake_mamba_ssm):
    state = torch.get_rng_state()
    with torch.inference_mode():
        assert choose_backend("cpu") is BACKENDS["mamba_ssm"]
    assert {len(call[0][0, 0]) for call in fake_mamba_ssm} == {1, 37}
    assert torch.equal(torch.get_rng_state(), state)
    fake_mamba_ssm.clear()
    assert choose_backend("cpu") is BACKENDS["mamba_ssm"]
    assert not fake_mamba_ssm  # tried once only


def test_without_mamba_ssm_nothing_is_said(as_if_on_a_gpu, caplog):
    assert choose_backend("cpu") is BACKENDS["triton"]
    assert not caplog.messages


@pytest.mark.parametrize("fault", ["import", "call", "values"])
def test_a_broken_mamba_ssm_is_reported_and_not_used(
    fault, as_if_on_a_gpu, fake_mamba_ssm, monkeypatch, caplog
):
    interface = sys.modules["mamba_ssm.ops.selective_scan_interface"]
    if fault == "import":
        monkeypatch.setitem(sys.modules, "causal_conv1d", None)
    elif fault == "call":
        monkeypatch.setattr(interface, "mamba_inner_fn", None)
    else:
        right = interface.mamba_inner_fn
        monkeypatch.setattr(
            interface, "mamba_inner_fn", lambda *a, **k: 2 * right(*a, **k)
        )
    assert choose_backend("cpu") is BACKENDS["triton"]
    (message,) = caplog.messages
    assert "not computed with mamba_ssm" in message
    assert "\n" not in message


def test_plain_torch_where_nothing_else_is(as_if_on_a_gpu, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert choose_backend("cpu") is BACKENDS["torch"]
    assert "plain torch, which is slow" in caplog.text


def test_mamba_ssm_leaves_to_triton_what_it_cannot(fake_mamba_ssm, monkeypatch):
    from polsess.models.mamba import ssm

    fallback = types.ModuleType("polsess.models.mamba.triton")
    fallback.mamba_in_triton = lambda hidden, *_: hidden[None] * 7
    monkeypatch.setitem(sys.modules, fallback.__name__, fallback)
    for options in ({"width": 5}, {"width": 1}, {"n_states": 257}):
        inputs = make_inputs(1, 3, 2, **options)
        output = ssm.mamba_in_mamba_ssm(*inputs)
        assert torch.equal(output, inputs[0] * 7)
    monkeypatch.setattr(
        torch, "are_deterministic_algorithms_enabled", lambda: True
    )
    inputs = make_inputs(1, 3, 2)
    assert torch.equal(ssm.mamba_in_mamba_ssm(*inputs), inputs[0] * 7)
    assert not fake_mamba_ssm


def test_gradcheck():
    layer = Mamba(3, d_state=2, d_conv=3, expand=2).double()
    names = list(layer.state_dict())

    def apply(hidden, *parameters):
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, named, hidden)

    hidden = torch.randn(2, 35, 3, dtype=torch.float64, requires_grad=True)
    torch.nn.init.constant_(layer.dt_proj.bias, 1.0)
    inputs = (hidden, *layer.parameters())
    assert torch.autograd.gradcheck(apply, inputs, fast_mode=True)


def test_step_sizes_at_the_start():
    steps = torch.nn.functional.softplus(Mamba(64).dt_proj.bias)
    assert steps.min() > 0.00099
    assert steps.max() < 0.101


def test_torch_compile_goes_round_the_layer():
    layer = Mamba(8, d_state=4)
    hidden = torch.randn(2, 9, 8)
    found = torch.compile(layer, backend="aot_eager")(hidden)
    assert torch.equal(found, layer(hidden))
