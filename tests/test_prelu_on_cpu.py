"""PReLU against torch's."""

import pytest
import torch
from polsess.models.convtasnet import prelu
from torch.nn import functional as F


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
