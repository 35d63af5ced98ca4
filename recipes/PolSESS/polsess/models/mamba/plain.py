"""The Mamba layer in plain torch: slow, for any device and FP64."""

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# Steps that are scanned at once: so many times the states are in memory.
CHUNK = 16


def mamba_in_torch(
    hidden: torch.Tensor, *weights: torch.Tensor
) -> torch.Tensor:
    """Compute a Mamba layer with operators of torch.

    Arguments and result are those of ``mamba_on_cpu``, in FP32 or FP64.

    Example
    -------
    >>> shapes = [(2, 9, 4), (16, 4), (8, 1, 4), (8,), (7, 8), (8, 1), (8,)]
    >>> inputs = [torch.randn(shape) for shape in shapes]
    >>> inputs += [-torch.rand(8, 3), torch.ones(8), torch.randn(4, 8)]
    >>> mamba_in_torch(*inputs).shape
    torch.Size([2, 9, 4])
    """
    in_weight, conv_weight, conv_bias, x_weight, step_weight, *others = weights
    step_bias, rates, skip, out_weight = others
    length, width = hidden.shape[1], conv_weight.shape[2]
    x, z = F.linear(hidden, in_weight).chunk(2, dim=-1)
    padded = F.pad(x, (0, 0, width - 1, 0))
    # No convolution of torch's, which would take TF32 on a GPU.
    x = conv_bias + sum(
        conv_weight[:, 0, k] * padded[:, k : k + length] for k in range(width)
    )
    x = F.silu(x)
    sizes = [step_weight.shape[1], rates.shape[1], rates.shape[1]]
    raw, inward, outward = F.linear(x, x_weight).split(sizes, dim=-1)
    delta = F.softplus(F.linear(raw, step_weight, step_bias))
    state = hidden.new_zeros(len(hidden), *rates.shape)
    outputs = []
    for chunk in zip(
        *(t.split(CHUNK, 1) for t in (x, delta, inward, outward)), strict=True
    ):
        output, state = checkpoint(
            _scan_chunk, state, rates, *chunk,
            use_reentrant=False, preserve_rng_state=False,
        )  # fmt: skip
        outputs.append(output)
    y = torch.cat(outputs, dim=1) + skip * x
    return F.linear(y * F.silu(z), out_weight)


def _scan_chunk(state, rates, x, delta, inward, outward):
    """Scan a chunk from a state [batch, channels, n_states] on."""
    decay = torch.exp(delta.unsqueeze(3) * rates)
    entering = (delta * x).unsqueeze(3) * inward.unsqueeze(2)
    states = []
    for a, b in zip(decay.unbind(1), entering.unbind(1), strict=True):
        state = a * state + b
        states.append(state)
    h = torch.stack(states, dim=1)
    return (h @ outward.unsqueeze(3)).squeeze(3), state
