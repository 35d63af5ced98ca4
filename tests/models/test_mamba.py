"""The Mamba layer as a module, and with mamba-ssm's place taken."""

import sys
import types

import pytest
import torch
from bench_mamba import sequential_mamba
from polsess.errors import UserError
from polsess.models.mamba import Mamba, import_mamba_ssm, mamba_on_gpu
from polsess.models.mamba.cpu import mamba_on_cpu
from small_mamba import make_inputs, relative_errors, results


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


def test_other_devices_are_told_what_to_do():
    layer = Mamba(8).to("meta")
    with pytest.raises(UserError, match="does not run on meta.*--device cpu"):
        layer(torch.empty(1, 5, 8, device="meta"))


def test_torch_compile_goes_round_the_layer():
    layer = Mamba(8, d_state=4)
    hidden = torch.randn(2, 9, 8)
    found = torch.compile(layer, backend="aot_eager")(hidden)
    assert torch.equal(found, layer(hidden))


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
        return sequential_mamba(
            xz.transpose(1, 2),
            torch.eye(xz.shape[1]),
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
    monkeypatch.setitem(sys.modules, package.__name__, package)
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
        import_mamba_ssm()
