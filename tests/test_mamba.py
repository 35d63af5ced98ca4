"""The Mamba layer: exactness, and everything it may be run in."""

import multiprocessing
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from mamba import compiled, on_cpu, on_gpu
from mamba.layer import Mamba
from mamba.on_cpu import mamba_on_cpu
from mamba.on_gpu import import_fused_layer, mamba_on_gpu
from prepare_polsess import UserError
from sequential_mamba import sequential_mamba


def make_inputs(batch, length, d_model, n_states=4, width=4, seed=0):
    """Make an input, and parameters that all matter."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=1.0):
        values = scale * torch.randn(shape, generator=generator)
        return values.requires_grad_()

    channels, rank = 2 * d_model, 2
    rates = -draw(channels, n_states).detach().exp()
    return [
        draw(batch, length, d_model),
        draw(2 * channels, d_model, scale=d_model**-0.5),
        draw(channels, 1, width, scale=0.5),
        draw(channels, scale=0.1),
        draw(rank + 2 * n_states, channels, scale=channels**-0.5),
        draw(channels, rank),
        draw(channels, scale=2.0),
        rates.requires_grad_(),
        draw(channels),
        draw(d_model, channels, scale=channels**-0.5),
    ]


def in_double(inputs):
    """Copy tensors to FP64."""
    return [tensor.detach().double().requires_grad_() for tensor in inputs]


def results(function, inputs):
    """Compute the output and all gradients."""
    output = function(*inputs)
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(output.shape, generator=generator)
    return [
        output,
        *torch.autograd.grad(output, inputs, direction.to(output.dtype)),
    ]


def relative_errors(found, expected):
    """Largest difference of each, relative to the largest value."""
    return [
        ((a - b).abs().max() / b.abs().max().clamp(min=1e-3)).item()
        for a, b in zip(found, expected, strict=True)
    ]


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
    monkeypatch.setattr(on_cpu, "SLAB_STEPS", 500)
    inputs = make_inputs(*shape, **options)
    expected = results(sequential_mamba, in_double(inputs))
    errors = relative_errors(results(mamba_on_cpu, inputs), expected)
    assert errors[0] < 1e-5
    assert max(errors[1:]) < 1e-4
    errors = relative_errors(results(mamba_on_cpu, in_double(inputs)), expected)
    assert max(errors) < 1e-12


def test_gradcheck():
    inputs = in_double(make_inputs(2, 35, 3, n_states=2, width=3))
    assert torch.autograd.gradcheck(mamba_on_cpu, inputs, fast_mode=True)


def test_gradcheck_of_the_module():
    layer = Mamba(3, d_state=2, d_conv=3, expand=2).double()
    names = list(layer.state_dict())

    def apply(hidden, *parameters):
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, named, hidden)

    hidden = torch.randn(2, 35, 3, dtype=torch.float64, requires_grad=True)
    torch.nn.init.constant_(layer.dt_proj.bias, 1.0)
    inputs = (hidden, *layer.parameters())
    assert torch.autograd.gradcheck(apply, inputs, fast_mode=True)


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
    strided = [
        tensor.detach().transpose(0, -1).contiguous().transpose(0, -1)
        for tensor in inputs
    ]
    assert not strided[0].is_contiguous()
    strided = [tensor.requires_grad_() for tensor in strided]
    found = results(mamba_on_cpu, strided)
    assert all(map(torch.equal, found, expected))
    expanded = inputs[0][:1].expand(6, -1, -1)
    output = mamba_on_cpu(expanded, *inputs[1:])
    assert torch.equal(output[0], output[5])


def test_bfloat16_in_and_out_but_not_within():
    inputs = make_inputs(3, 200, 8)
    rounded = [tensor.detach().bfloat16().requires_grad_() for tensor in inputs]
    found = results(mamba_on_cpu, rounded)
    assert all(tensor.dtype == torch.bfloat16 for tensor in found)
    exact = results(
        mamba_on_cpu, [t.detach().float().requires_grad_() for t in rounded]
    )
    errors = relative_errors([tensor.float() for tensor in found], exact)
    # One rounding to 8 bits; the scan in BF16 would be far off.
    assert max(errors) < 2**-7


def test_autocast_changes_nothing():
    inputs = make_inputs(3, 40, 8)
    expected = results(mamba_on_cpu, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results(mamba_on_cpu, inputs)
    assert all(map(torch.equal, found, expected))


def test_little_is_kept_for_the_backward_pass_and_nothing_without():
    inputs = make_inputs(4, 320, 16, n_states=16)
    kept = []

    def note(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        mamba_on_cpu(*inputs)
        batch, length, d_model = inputs[0].shape
        one_of_each_step = (
            batch * length * 2 * d_model
        )  # [batch, time, channels]
        assert 0 < sum(kept) < 2 * one_of_each_step
        kept.clear()
        with torch.no_grad():
            mamba_on_cpu(*inputs)
        mamba_on_cpu(*[tensor.detach() for tensor in inputs])
    assert not kept


def test_no_states_are_stored_without_gradients(monkeypatch):
    stored = []

    def note(kernel, n_sequences, *arrays):
        if kernel is on_cpu.scan:
            stored.append(arrays[-2].size)
        kernel(0, n_sequences, *arrays)

    monkeypatch.setattr(on_cpu, "run", note)
    inputs = make_inputs(2, 100, 8)
    mamba_on_cpu(*inputs)
    with torch.no_grad():
        mamba_on_cpu(*inputs)
    assert stored == [2 * 4 * 4 * 16, 0]


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


class Computed(torch.utils.data.Dataset):
    """Computes the layer where it is read."""

    def __init__(self, inputs):
        self.inputs = [tensor.detach() for tensor in inputs]

    def __len__(self):
        """Count the items."""
        return 4

    def __getitem__(self, index):
        """Compute the same output each time."""
        return mamba_on_cpu(*self.inputs)


def test_in_a_loaders_processes():
    dataset = Computed(make_inputs(4, 20, 8))
    torch.set_num_threads(2)
    expected = dataset[0]
    # They start with one thread of torch's own.
    loader = torch.utils.data.DataLoader(dataset, num_workers=2, timeout=60)
    outputs = list(loader)
    torch.set_num_threads(1)
    assert all(torch.allclose(o[0], expected, atol=1e-6) for o in outputs)


def train_in_child(dataset, queue):
    """Go forward and backward in a forked process."""
    inputs = [tensor.requires_grad_() for tensor in dataset.inputs]
    gradients = results(mamba_on_cpu, inputs)
    queue.put([gradient.detach().numpy() for gradient in gradients])


def test_in_a_forked_process():
    dataset = Computed(make_inputs(4, 20, 8))
    torch.set_num_threads(2)
    inputs = [tensor.clone().requires_grad_() for tensor in dataset.inputs]
    expected = results(mamba_on_cpu, inputs)  # threads were used before
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=train_in_child, args=(dataset, queue))
    child.start()
    found = queue.get(timeout=60)
    child.join(timeout=60)
    torch.set_num_threads(1)
    assert child.exitcode == 0
    for gradient, other in zip(found, expected, strict=True):
        assert torch.allclose(torch.tensor(gradient), other, atol=1e-6)


def test_parameters_are_those_of_mamba_ssm():
    shapes = {
        name: tuple(p.shape) for name, p in Mamba(64).state_dict().items()
    }
    assert shapes == {
        "A_log": (256, 16),
        "D": (256,),
        "in_proj.weight": (512, 64),
        "conv1d.weight": (256, 1, 4),
        "conv1d.bias": (256,),
        "x_proj.weight": (36, 256),
        "dt_proj.weight": (256, 4),
        "dt_proj.bias": (256,),
        "out_proj.weight": (64, 256),
    }


def test_step_sizes_at_the_start():
    steps = torch.nn.functional.softplus(Mamba(64).dt_proj.bias)
    assert steps.min() > 0.00099
    assert steps.max() < 0.101


@pytest.fixture
def fake_mamba_ssm(monkeypatch):
    """Stands for mamba-ssm, with its layout and order of arguments."""
    calls = []

    def mamba_inner_fn(xz, *arguments, delta_bias, delta_softplus):
        weights, (rates, inward, outward, skip) = arguments[:6], arguments[6:]
        conv_weight, conv_bias, x_weight, step_weight, out_weight, bias = (
            weights
        )
        assert bias is inward is outward is None
        assert delta_softplus
        calls.append([xz, conv_weight, x_weight, step_weight, rates, skip])
        return sequential_mamba(
            xz.transpose(1, 2),
            torch.eye(xz.shape[1]),
            conv_weight,
            conv_bias,
            x_weight,
            step_weight,
            delta_bias,
            rates,
            skip,
            out_weight,
        )

    package = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    package.mamba_inner_fn = mamba_inner_fn
    for name in ("causal_conv1d", "mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, package.__name__, package)
    # The stand-in runs on the CPU.
    monkeypatch.setattr(
        on_gpu, "import_fused_layer", lambda _: import_fused_layer("cuda")
    )
    return calls


def test_mamba_ssm_gets_the_same_layer(fake_mamba_ssm):
    inputs = make_inputs(3, 40, 8)
    expected = results(mamba_on_cpu, inputs)
    found = results(mamba_on_gpu, inputs)
    assert max(relative_errors(found, expected)) < 1e-5
    assert len(fake_mamba_ssm) == 1


def test_mamba_ssm_computes_in_float32_under_autocast(fake_mamba_ssm):
    inputs = make_inputs(3, 40, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = mamba_on_gpu(*inputs)
    assert output.dtype == torch.float32
    assert all(t.dtype == torch.float32 for t in fake_mamba_ssm[0])


def test_without_mamba_ssm_a_gpu_is_told_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "causal_conv1d", None)
    with pytest.raises(UserError, match="requirements-gpu.txt.*--device cpu"):
        import_fused_layer("cuda:0")


def test_other_devices_are_told_what_to_do():
    layer = Mamba(8).to("meta")
    with pytest.raises(UserError, match="does not run on meta.*--device cpu"):
        layer(torch.empty(1, 5, 8, device="meta"))


def test_compiled_code_is_kept_apart_for_each_state_of_the_files(monkeypatch):
    folders = compiled.cache_folders()
    assert folders == compiled.cache_folders()
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"changed")
    assert not set(folders) & set(compiled.cache_folders())
    # It is where it is looked for.
    assert any(folders[0].rglob("*scan_backward*.nbi"))


def test_where_nothing_can_be_kept_it_is_compiled_anyway(monkeypatch):
    monkeypatch.setattr(
        compiled, "cache_folders", lambda: [Path("/dev/null/kernels")]
    )

    @compiled.compiled
    def double(numbers):
        for i in range(numbers.size):
            numbers[i] *= 2

    numbers = np.ones(2)
    double(numbers)
    assert list(numbers) == [2, 2]


def test_torch_compile_goes_round_the_layer():
    layer = Mamba(8, d_state=4)
    hidden = torch.randn(2, 9, 8)
    found = torch.compile(layer, backend="aot_eager")(hidden)
    assert torch.equal(found, layer(hidden))
