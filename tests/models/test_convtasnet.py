"""ConvTasNet's mask network and PReLU against SpeechBrain's and torch's."""

import copy

import pytest
import torch
from polsess.models import convtasnet
from polsess.models.convtasnet import MaskNet, prelu
from torch.nn import functional as F

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


@pytest.fixture(params=["cpu", "gpu"])
def norm(request, monkeypatch):
    """Normalise as on a CPU, and as on a GPU."""

    def on_gpu(hidden, groups, scale, shift, eps):
        return convtasnet._GlobalNorm.apply(hidden, scale, shift)

    if request.param == "gpu":
        monkeypatch.setattr(F, "group_norm", on_gpu)


@pytest.mark.parametrize("sizes", [{}, {"P": 5}, {"C": 1}, {"X": 1, "R": 1}])
def test_equals_speechbrain_with_gradients(sizes, norm):
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


@pytest.mark.parametrize("slope", [-0.3, 0.0, 0.25, 0.8, 1.5])
def test_equals_torch_with_gradients(slope):
    torch.manual_seed(0)
    hidden = torch.randn(3, 5, 40, dtype=torch.float64)
    hidden[0, 0, :3] = 0.0
    direction = torch.randn_like(hidden)
    results = []
    for function in (prelu, F.prelu):
        inputs = (
            hidden.clone().requires_grad_(),
            torch.tensor([slope], dtype=torch.float64, requires_grad=True),
        )
        output = function(*inputs)
        gradients = torch.autograd.grad(output, inputs, direction)
        results.append([output.detach(), *gradients])
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)


def test_a_slope_gradient_beyond_half_precision():
    # As GradScaler's factor makes it
    hidden = torch.full((1, 70_000), -1.0, dtype=torch.float16)
    slope = torch.tensor([0.25], requires_grad=True)
    output = prelu(hidden.requires_grad_(), slope)
    output.backward(torch.full_like(output, 100.0))
    assert output.dtype == hidden.grad.dtype == torch.float16
    torch.testing.assert_close(slope.grad, torch.tensor([-7e6]))


def test_a_nan_is_not_swallowed():
    hidden = torch.tensor([1.0, float("nan"), -1.0], requires_grad=True)
    slope = torch.tensor([0.25], requires_grad=True)
    output = prelu(hidden, slope)
    output.sum().backward()
    assert output.isnan().tolist() == [False, True, False]
    assert slope.grad.isnan()
