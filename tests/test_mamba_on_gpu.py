"""The Mamba layer on GPUs, with a stand-in for mamba-ssm."""

import sys
import types

import pytest
import torch
from polsess.errors import UserError
from polsess.models.mamba import layer as on_gpu
from polsess.models.mamba.cpu import mamba_on_cpu
from polsess.models.mamba.layer import import_fused_layer, mamba_on_gpu
from sequential_mamba import sequential_mamba
from small_mamba import make_inputs, relative_errors, results


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
