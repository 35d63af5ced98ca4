"""Small inputs of the Mamba layer, and what it makes of them."""

import torch
from torch.nn import functional as F


def sequential_mamba(
    hidden: torch.Tensor, *weights: torch.Tensor
) -> torch.Tensor:
    """Compute a Mamba layer by its equations, step by step, with autograd.

    Slow and large: the reference for the kernels. Arguments and
    result are those of ``mamba_on_cpu``.
    """
    in_weight, conv_weight, conv_bias, x_weight, *others = weights
    step_weight, step_bias, rates, skip, out_weight = others
    x, z = F.linear(hidden, in_weight).chunk(2, dim=-1)
    x = F.pad(x.transpose(1, 2), (conv_weight.shape[-1] - 1, 0))
    x = F.conv1d(x, conv_weight, conv_bias, groups=len(conv_bias))
    x = F.silu(x).transpose(1, 2)
    sizes = [step_weight.shape[1], rates.shape[1], rates.shape[1]]
    raw, inward, outward = F.linear(x, x_weight).split(sizes, dim=-1)
    delta = F.softplus(F.linear(raw, step_weight, step_bias))
    state = hidden.new_zeros(len(hidden), *rates.shape)
    outputs = []
    for t in range(hidden.shape[1]):
        decay = torch.exp(delta[:, t, :, None] * rates)
        entering = (delta[:, t] * x[:, t])[..., None] * inward[:, t, None]
        state = decay * state + entering
        outputs.append((state * outward[:, t, None]).sum(-1) + skip * x[:, t])
    return F.linear(torch.stack(outputs, dim=1) * F.silu(z), out_weight)


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


def transposed(tensor):
    """Copy a tensor to another layout in memory."""
    tensor = tensor.detach().transpose(0, -1).contiguous().transpose(0, -1)
    return tensor.requires_grad_()
