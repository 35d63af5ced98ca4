"""The Mamba layer on a GPU: mamba-ssm's fused kernels, in FP32."""

import importlib
from collections.abc import Callable

import torch
from torch.nn import functional as F

try:
    from prepare_polsess import UserError
except ModuleNotFoundError:  # in a model that export.py wrote
    # mypy takes the name for one class.
    UserError = ValueError  # type: ignore[misc, assignment]


@torch.compiler.disable
def mamba_on_gpu(
    hidden: torch.Tensor,
    in_weight: torch.Tensor,
    conv_weight: torch.Tensor,
    conv_bias: torch.Tensor,
    x_weight: torch.Tensor,
    step_weight: torch.Tensor,
    step_bias: torch.Tensor,
    rates: torch.Tensor,
    skip: torch.Tensor,
    out_weight: torch.Tensor,
) -> torch.Tensor:
    """Compute a Mamba layer with mamba-ssm.

    Arguments
    ---------
    hidden : torch.Tensor
        Shape [batch, time, d_model], on a GPU.
    in_weight, conv_weight, conv_bias, x_weight, step_weight : torch.Tensor
        As in ``mamba_on_cpu``.
    step_bias, rates, skip, out_weight : torch.Tensor
        As in ``mamba_on_cpu``.

    Returns
    -------
    torch.Tensor
        Of the shape and type of ``hidden``.

    Raises
    ------
    UserError
        If mamba-ssm is not installed.
    """
    fused = import_fused_layer(hidden.device)
    # mamba-ssm wants [batch, channels, time].
    xz = F.linear(hidden, in_weight).transpose(1, 2).float().contiguous()
    with torch.autocast(hidden.device.type, enabled=False):
        output = fused(
            xz,
            conv_weight.float(),
            conv_bias.float(),
            x_weight.float(),
            step_weight.float(),
            out_weight.float(),
            None,  # bias of the last projection
            rates.float(),
            None,  # B and C are projected from the input
            None,
            skip.float(),
            delta_bias=step_bias.float(),
            delta_softplus=True,
        )
    return output.to(hidden.dtype)


def import_fused_layer(device: torch.device | str) -> Callable:
    """Import mamba-ssm's fused layer when it is needed.

    Arguments
    ---------
    device : torch.device, str
        Where the tensors are.

    Returns
    -------
    callable
        ``mamba_ssm``'s ``mamba_inner_fn``.

    Raises
    ------
    UserError
        If it is not installed, or not built for this machine.
    """
    if torch.device(device).type != "cuda":
        raise UserError(
            f"SPMamba does not run on {device}: mamba-ssm has no kernels for "
            "it; add --device cpu"
        )
    try:
        # mamba-ssm itself misses it only when it is called.
        importlib.import_module("causal_conv1d")
        from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn
    except ImportError as error:
        raise UserError(
            f"SPMamba on {device} needs mamba-ssm and causal-conv1d, which "
            f"cannot be imported ({error}): install requirements-gpu.txt as "
            "its first lines say, or add --device cpu"
        ) from error
    return mamba_inner_fn
