"""The Mamba layer, for any device, with one set of parameters.

Gu, Dao, "Mamba: linear-time sequence modeling with selective state spaces",
2023 (arXiv 2312.00752). Names, shapes and first values of the parameters are
those of ``mamba_ssm.Mamba``.
"""

import functools
import importlib.util
import logging
import math
from collections.abc import Callable, Sequence

import torch

from polsess.errors import one_line

logger = logging.getLogger(__name__)

# Range of the step sizes at the start of a training
SMALLEST_STEP, LARGEST_STEP = 0.001, 0.1


def in_each_direction(
    layer: Callable, hidden: torch.Tensor, *weights: torch.Tensor
) -> torch.Tensor:
    """Compute a layer with each direction's weights, the second backwards.

    Arguments
    ---------
    layer : callable
        Takes [batch, time, d_model] and weights of one direction.
    hidden : torch.Tensor
        Shape [batch, time, d_model].
    *weights : torch.Tensor
        Shape [directions, ...].

    Returns
    -------
    torch.Tensor
        Shape [directions, batch, time, d_model].

    Example
    -------
    >>> hidden = torch.arange(3.0).reshape(1, 3, 1)
    >>> twice = in_each_direction(torch.mul, hidden, torch.tensor([1.0, 10.0]))
    >>> twice[:, 0, :, 0]
    tensor([[ 0.,  1.,  2.],
            [ 0., 10., 20.]])
    """
    forwards, *others = zip(*(w.unbind() for w in weights), strict=True)
    outputs = [layer(hidden, *forwards)]
    outputs += [layer(hidden.flip(1), *other).flip(1) for other in others]
    # In memory side by side, as they are needed
    return torch.stack(outputs, dim=2).permute(2, 0, 1, 3)


def _backend(
    module: str, function: str, double: bool = False, together: bool = False
) -> Callable:
    """Make a backend, which is imported when it is called.

    Not all can be imported everywhere, not all compute in FP64, and not all
    compute both directions together.
    """

    def compute(hidden, *weights):
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        if dtype == torch.float64 and not double:
            return BACKENDS["torch"](hidden, *weights)
        package = importlib.import_module(f"polsess.models.mamba.{module}")
        with torch.autocast(hidden.device.type, enabled=False):
            layer = getattr(package, function)
            if not together:
                layer = functools.partial(in_each_direction, layer)
            tensors = [tensor.to(dtype) for tensor in (hidden, *weights)]
            return layer(*tensors).to(hidden.dtype)

    return compute


# What computes `compute_mamba`: in FP32, or in FP64 for FP64 input, whatever
# autocast says. Arguments are of any floating type; the result has that of the
# first one.
BACKENDS: dict[str, Callable] = {
    "cpu": _backend("cpu", "mamba_on_cpu"),
    "mamba_ssm": _backend("ssm", "mamba_in_mamba_ssm"),
    "triton": _backend("triton", "mamba_in_triton", together=True),
    "torch": _backend("plain", "mamba_in_torch", double=True),
}


def choose_backend(device: torch.device | str) -> Callable:
    """Choose what computes the layer on a device.

    On the CPU it is numba; on an NVIDIA GPU mamba-ssm where it is installed and
    works, otherwise Triton. Plain torch is for where there is none of these.

    Example
    -------
    >>> choose_backend("cpu") is BACKENDS["cpu"]
    True
    """
    return BACKENDS[_find_backend(torch.device(device).type)]


# Backends to try, by type of device, with the package that each needs
ON_CUDA = {"mamba_ssm": "mamba_ssm", "triton": "triton"}
_FIRST_CHOICES = {"cpu": {"cpu": "numba"}, "cuda": ON_CUDA}


@functools.cache
def _find_backend(kind):
    """Find the first backend that is there and computes what it should."""
    for name, package in _FIRST_CHOICES.get(kind, {}).items():
        if importlib.util.find_spec(package) is None:
            continue
        if name == "cpu":
            return name
        try:
            for length in (1, 37):
                _try_backend(name, kind, length)
            return name
        # Whatever an installation that does not fit its GPU raises
        except Exception as error:
            logger.warning(
                "Mamba layers are not computed with %s, which is installed "
                "but does not work: %s: %s",
                name,
                type(error).__name__,
                one_line(error),
            )
    logger.warning("Mamba layers are computed in plain torch, which is slow")
    return "torch"


def _try_backend(name, kind, length):
    """Compare output and gradient of a small layer with plain torch's."""
    found = []
    # With gradients, and without an effect on what is drawn afterwards
    with torch.inference_mode(False), torch.random.fork_rng([]):
        weights = stack_weights([Mamba(8), Mamba(8)])
        inputs = [torch.randn(2, length, 8), *weights]
        inputs = [x.detach().to(kind).requires_grad_() for x in inputs]
        for backend in (name, "torch"):
            output = BACKENDS[backend](*inputs)
            found.append([output, *torch.autograd.grad(output.sum(), inputs)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)


@torch.compiler.disable  # Its kernels are compiled already.
def compute_mamba(hidden: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """Compute a Mamba layer in one direction, or in both.

    Arguments
    ---------
    hidden : torch.Tensor
        Shape [batch, time, d_model].
    *weights : torch.Tensor
        Shape [directions, ...], as ``stack_weights`` returns them. The second
        direction, if there is one, goes backwards in time.

    Returns
    -------
    torch.Tensor
        Shape [directions, batch, time, d_model].

    Example
    -------
    >>> weights = stack_weights([Mamba(8), Mamba(8)])
    >>> compute_mamba(torch.randn(3, 50, 8), *weights).shape
    torch.Size([2, 3, 50, 8])
    """
    return choose_backend(hidden.device)(hidden, *weights)


class Mamba(torch.nn.Module):
    """A selective state space with its projections, convolution and gate.

    Whatever the precision, all of it is computed in FP32: states of ordinary
    inputs can exceed what FP16 holds, and rounding adds up along a
    sequence.

    Arguments
    ---------
    d_model : int
        Channels of input and output.
    d_state : int
        States of each channel.
    d_conv : int
        Length of the convolution, in steps.
    expand : int
        Times as many channels inside as outside.

    Example
    -------
    >>> layer = Mamba(d_model=8, d_state=4)
    >>> layer(torch.randn(2, 50, 8)).shape
    torch.Size([2, 50, 8])
    """

    def __init__(
        self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 4
    ) -> None:
        super().__init__()
        channels = expand * d_model
        rank = math.ceil(d_model / 16)
        self.in_proj = torch.nn.Linear(d_model, 2 * channels, bias=False)
        self.conv1d = torch.nn.Conv1d(
            channels, channels, d_conv, groups=channels
        )
        self.x_proj = torch.nn.Linear(channels, rank + 2 * d_state, bias=False)
        self.dt_proj = torch.nn.Linear(rank, channels)
        self.A_log = torch.nn.Parameter(
            torch.arange(1.0, d_state + 1).log().repeat(channels, 1)
        )
        self.D = torch.nn.Parameter(torch.ones(channels))
        self.out_proj = torch.nn.Linear(channels, d_model, bias=False)
        self._reset_step_sizes()

    def _reset_step_sizes(self):
        """Draw step sizes, the softplus of the bias, evenly in logarithm."""
        bound = self.dt_proj.in_features**-0.5
        torch.nn.init.uniform_(self.dt_proj.weight, -bound, bound)
        low, high = math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        with torch.no_grad():
            step = self.dt_proj.bias.uniform_(low, high).exp()
            # The inverse of softplus
            self.dt_proj.bias.copy_(step.expm1().log())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Transform sequences [batch, time, d_model]."""
        return compute_mamba(hidden, *stack_weights([self]))[0]


def stack_weights(
    layers: Sequence[Mamba], scales: Sequence[torch.Tensor] = ()
) -> list[torch.Tensor]:
    """Stack the weights of layers of the same sizes, in at least FP32.

    Arguments
    ---------
    layers : sequence of Mamba
        The layers, such as those of two directions.
    scales : sequence of torch.Tensor
        Of each layer, factors of its input's channels [d_model], such as a
        norm's weight, that the first projection includes.

    Returns
    -------
    list of torch.Tensor
        Arguments of ``mamba_on_cpu`` from the second one on, each of shape
        [layers, ...].
    """
    parameters = zip(*(layer.parameters() for layer in layers), strict=True)
    stacked = [torch.stack(weights) for weights in parameters]
    dtype = torch.promote_types(stacked[0].dtype, torch.float32)
    stacked = [weight.to(dtype) for weight in stacked]
    # In the order in which a layer's parameters are registered
    log_rates, skip, in_weight, *projections, out_weight = stacked
    if scales:
        in_weight = in_weight * torch.stack(list(scales)).to(dtype).unsqueeze(1)
    # Transposed in memory, as most backends want them
    rates = -log_rates.mT.contiguous().exp()
    return [in_weight, *projections, rates.mT, skip, out_weight]
