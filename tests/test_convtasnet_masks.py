"""ConvTasNet's mask network against SpeechBrain's, with the same weights."""

import copy

import pytest
import torch
from polsess.models.convtasnet import MaskNet

from speechbrain.lobes.models import conv_tasnet

SIZES = {"N": 12, "B": 8, "H": 16, "P": 3, "X": 3, "R": 2, "C": 2}


def pair_of_networks(**sizes):
    """Make ours and SpeechBrain's with the same drawn weights, in FP64."""
    torch.manual_seed(0)
    ours = MaskNet(**SIZES | sizes).double()
    with torch.no_grad():
        for parameter in ours.parameters():  # norms would be ones and zeros
            parameter += 0.1 * torch.randn_like(parameter)
    stock = conv_tasnet.MaskNet(**SIZES | sizes).double()
    stock.load_state_dict(ours.state_dict())
    return ours, stock


@pytest.mark.parametrize("sizes", [{}, {"P": 5}, {"C": 1}, {"X": 1, "R": 1}])
def test_equals_speechbrain_with_gradients(sizes):
    results = []
    representation = torch.rand(3, 12, 40, dtype=torch.float64)
    for network in pair_of_networks(**sizes):
        given = representation.clone().requires_grad_()
        masks = network(given)
        masks.square().sum().backward()
        gradients = [p.grad for p in network.parameters()]
        results.append([masks.detach(), given.grad, *gradients])
    for ours, stock in zip(*results, strict=True):
        torch.testing.assert_close(ours, stock, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_close_as_its_numbers(dtype):
    network = pair_of_networks()[0].float()
    representation = torch.rand(2, 12, 200)
    exact = copy.deepcopy(network).double()(representation.double())
    with torch.autocast("cpu", dtype=dtype):
        masks = network(representation)
    error = (masks.double() - exact).abs().max() / exact.abs().max()
    assert error < 30 * torch.finfo(dtype).eps


def test_a_pause_has_no_variance_and_stays_finite():
    network = pair_of_networks()[0].float()
    with torch.autocast("cpu", dtype=torch.float16):
        masks = network(torch.zeros(1, 12, 40))
    assert masks.isfinite().all()


def test_weights_go_both_ways():
    ours, stock = pair_of_networks()
    assert list(ours.state_dict()) == list(stock.state_dict())
    ours.load_state_dict(stock.state_dict())
