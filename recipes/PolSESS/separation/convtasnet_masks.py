"""ConvTasNet's mask network, computed with the channels first.

SpeechBrain's keeps the channels last: each of its convolutions copies its input
and its output into the other layout, and its norms are six passes over the
signal each. Parameters, their names and the result are SpeechBrain's.

Luo, Mesgarani, "Conv-TasNet: surpassing ideal time-frequency magnitude masking
for speech separation", 2019 (arXiv 1809.07454).
"""

import torch
from prelu_on_cpu import prelu
from speechbrain.lobes.models import conv_tasnet
from torch.nn import functional as F


class MaskNet(conv_tasnet.MaskNet):
    """SpeechBrain's mask network, not causal, with global layer norms.

    Arguments
    ---------
    N : int
        Channels of the representation.
    B : int
        Channels between blocks.
    H : int
        Channels inside a block.
    P : int
        Length of a block's filters in frames; odd.
    X : int
        Blocks in a repeat, of dilations 1, 2, 4 ...
    R : int
        Number of repeats.
    C : int
        Number of sources.

    Example
    -------
    >>> import torch
    >>> from speechbrain.lobes.models import conv_tasnet
    >>> sizes = dict(N=8, B=4, H=8, P=3, X=2, R=1, C=2)
    >>> stock, ours = conv_tasnet.MaskNet(**sizes), MaskNet(**sizes)
    >>> _ = ours.load_state_dict(stock.state_dict())
    >>> representation = torch.rand(3, 8, 100)
    >>> masks = ours(representation)
    >>> masks.shape
    torch.Size([2, 3, 8, 100])
    >>> torch.allclose(masks, stock(representation), atol=1e-5)
    True
    """

    def __init__(
        self, N: int, B: int, H: int, P: int, X: int, R: int, C: int
    ) -> None:
        super().__init__(N, B, H, P, X, R, C)

    def forward(self, representation: torch.Tensor) -> torch.Tensor:
        """Make the sources' masks.

        Arguments
        ---------
        representation : torch.Tensor
            Shape [batch, channels, frames].

        Returns
        -------
        torch.Tensor
            Masks, not negative, of shape
            [n_sources, batch, channels, frames].
        """
        normalised = _normalise_frames(representation, self.layer_norm)
        hidden = _convolve(normalised, self.bottleneck_conv1x1)
        for block in self.temporal_conv_net.values():
            hidden = hidden + _run_block(hidden, block.layers)
        masks = _convolve(hidden, self.mask_conv1x1)
        masks = masks.unflatten(1, (self.C, -1)).transpose(0, 1)
        return F.relu(masks)


def _run_block(hidden, layers):
    """Compute what a block adds to its input [batch, channels, frames]."""
    inner = prelu(_convolve(hidden, layers.conv), layers.act.weight)
    inner = _normalise(inner, layers.norm)
    separable = layers.DSconv
    inner = prelu(_convolve(inner, separable.conv_0), separable.act.weight)
    # SpeechBrain's containers count layers that were given the same name.
    inner = _normalise(inner, separable.act_0)
    return _convolve(inner, separable.conv_1)


def _convolve(hidden, layer):
    """Convolve, continued by mirroring, as SpeechBrain's Conv1d does."""
    convolution = layer.conv
    (size,), (dilation,) = convolution.kernel_size, convolution.dilation
    if size > 1:
        beyond = dilation * (size - 1) // 2
        hidden = F.pad(hidden, (beyond, beyond), mode="reflect")
    return convolution(hidden)


def _normalise(hidden, norm):
    """Normalise over channels and frames; group norm with one group."""
    return F.group_norm(
        hidden,
        1,
        norm.gamma.flatten(),
        norm.beta.flatten(),
        conv_tasnet.EPS,
    )


def _normalise_frames(hidden, norm):
    """Normalise each frame over its channels."""
    normalised = F.layer_norm(
        hidden.transpose(1, 2),
        norm.gamma.shape[2:],
        norm.gamma.flatten(),
        norm.beta.flatten(),
        conv_tasnet.EPS,
    )
    return normalised.transpose(1, 2)
