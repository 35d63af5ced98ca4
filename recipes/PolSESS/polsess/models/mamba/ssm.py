"""The Mamba layer with mamba-ssm, where that is installed and works."""

import importlib

import torch
from torch.nn import functional as F


def mamba_in_mamba_ssm(
    hidden: torch.Tensor, *weights: torch.Tensor
) -> torch.Tensor:
    """Compute a Mamba layer with mamba-ssm's fused one.

    Arguments and result are those of ``mamba_on_cpu``, in FP32, on a GPU. What
    it has no kernels for is computed in Triton, and so is what has to be
    deterministic, since it adds gradients in any order.
    """
    width, n_states = weights[1].shape[2], weights[6].shape[1]
    small = 2 <= width <= 4 and n_states <= 256
    if not small or torch.are_deterministic_algorithms_enabled():
        from polsess.models.mamba.triton import mamba_in_triton

        return mamba_in_triton(hidden, *(w[None] for w in weights))[0]
    # mamba-ssm itself misses it only when it is called.
    importlib.import_module("causal_conv1d")
    from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn

    in_weight, *projections, step_bias, rates, skip, out_weight = (
        weight.contiguous() for weight in weights
    )
    return mamba_inner_fn(
        # It wants [batch, channels, time].
        F.linear(hidden, in_weight).transpose(1, 2).contiguous(),
        *projections,
        out_weight,
        None,  # bias of the last projection
        rates,
        None,  # B and C are projected from the input
        None,
        skip,
        delta_bias=step_bias,
        delta_softplus=True,
    )
