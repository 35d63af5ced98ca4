"""The Mamba layer as a module."""

import pytest
import torch
from polsess.errors import UserError
from polsess.models.mamba.layer import Mamba


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


def test_other_devices_are_told_what_to_do():
    layer = Mamba(8).to("meta")
    with pytest.raises(UserError, match="does not run on meta.*--device cpu"):
        layer(torch.empty(1, 5, 8, device="meta"))


def test_torch_compile_goes_round_the_layer():
    layer = Mamba(8, d_state=4)
    hidden = torch.randn(2, 9, 8)
    found = torch.compile(layer, backend="aot_eager")(hidden)
    assert torch.equal(found, layer(hidden))
