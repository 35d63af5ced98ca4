"""The Mamba layer as its equations say, step by step, by torch's autograd.

Slow and large: what the kernels are compared with.
"""

import torch
from torch.nn import functional as F


def sequential_mamba(
    hidden,
    in_weight,
    conv_weight,
    conv_bias,
    x_weight,
    step_weight,
    step_bias,
    rates,
    skip,
    out_weight,
):
    """Compute a Mamba layer; arguments are those of ``mamba_on_cpu``.

    Arguments
    ---------
    hidden : torch.Tensor
        Shape [batch, time, d_model].
    in_weight, conv_weight, conv_bias, x_weight, step_weight : torch.Tensor
        As in ``mamba_on_cpu``.
    step_bias, rates, skip, out_weight : torch.Tensor
        As in ``mamba_on_cpu``.

    Returns
    -------
    torch.Tensor
        Of the shape of ``hidden``.
    """
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
