"""Small inputs of the Mamba layer, and what it makes of them."""

import torch


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
