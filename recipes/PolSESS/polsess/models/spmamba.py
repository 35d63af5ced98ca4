"""SPMamba: a network over time and frequency with Mamba layers.

Li, Chen, "SPMamba: State-space model is all you need in speech separation",
2024 (arXiv 2404.02063). Its blocks are those of TF-GridNet (Wang et al.,
"TF-GridNet: integrating full- and sub-band modeling for speech separation",
2023, arXiv 2211.12433) with Mamba layers for the BLSTMs. Parameters have the
names and shapes of the published implementation.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain

import torch
from torch.nn import functional as F

from polsess.models.mamba import (
    Mamba,
    choose_backend,
    compute_mamba,
    stack_weights,
)

EPSILON = 1e-5  # of the normalisations, unless another is given
SMALLEST_LEVEL = 1e-4  # of a mixture, as a part of its peak


class Block(torch.nn.Module):
    """Mamba layers along frequency and along time, attention over frames.

    Arguments
    ---------
    channels : int
        Channels of a time-frequency bin.
    bins : int
        Number of frequencies.
    unfold_size : int
        Neighbouring bins that make a step of a Mamba layer.
    unfold_step : int
        Bins from step to step.
    heads : int
        Heads of the attention.
    attention_size : int
        Approximate number of values in a query.
    mamba : dict
        Options of the Mamba layers.

    Example
    -------
    >>> block = Block(4, 17, 3, 1, 2, 64, {"d_state": 4})
    >>> block(torch.randn(2, 20, 17, 4)).shape
    torch.Size([2, 20, 17, 4])
    """

    def __init__(
        self,
        channels: int,
        bins: int,
        unfold_size: int,
        unfold_step: int,
        heads: int,
        attention_size: int,
        mamba: dict,
    ) -> None:
        super().__init__()
        self.unfold_size = unfold_size
        self.unfold_step = unfold_step
        self.heads = heads
        steps = unfold_size * channels
        for path in ("intra", "inter"):
            self.add_module(f"{path}_norm", ChannelNorm(channels))
            self.add_module(f"{path}_mamba", BidirectionalMamba(steps, mamba))
            linear = torch.nn.ConvTranspose1d(
                2 * steps, channels, unfold_size, stride=unfold_step
            )
            self.add_module(f"{path}_linear", linear)
        query = -(-attention_size // bins)
        sizes = {"Q": query, "K": query, "V": channels // heads}
        for head in range(heads):
            for name, size in sizes.items():
                projection = _projection(channels, size, bins)
                self.add_module(f"attn_conv_{name}_{head}", projection)
        self.attn_concat_proj = _projection(channels, channels, bins)

    def forward(
        self, hidden: torch.Tensor, weights: Sequence | None = None
    ) -> torch.Tensor:
        """Transform [batch, frames, bins, channels].

        ``weights`` are those of the Mamba layers along frequency and along
        time, if they have been stacked with other blocks'.
        """
        layers = self.intra_mamba, self.inter_mamba
        intra, inter = weights or _gather_weights(layers)
        frames, bins = hidden.shape[1:3]
        missing = 0, 0, 0, self._missing(bins), 0, self._missing(frames)
        if any(missing):
            hidden = F.pad(hidden, missing)
        hidden = hidden + self._run_along("intra", hidden, intra)
        along_time = self._run_along("inter", hidden, inter)
        hidden = (hidden + along_time.transpose(1, 2))[:, :frames, :bins]
        return hidden + self._attend(hidden)

    def _missing(self, length):
        """Count the zeros that complete the last step."""
        beyond = max(0, length - self.unfold_size)
        steps = -(-beyond // self.unfold_step)
        return self.unfold_size + steps * self.unfold_step - length

    def _run_along(self, path, hidden, weights):
        """Run a bidirectional Mamba layer along bins, or along frames.

        Returns [batch, frames, bins, channels] or, along frames, [batch, bins,
        frames, channels].
        """
        dimension = 2 if path == "intra" else 1
        length = hidden.shape[dimension]
        hidden = getattr(self, f"{path}_norm")(hidden)
        steps = hidden.unfold(dimension, self.unfold_size, self.unfold_step)
        if path == "inter":
            steps = steps.transpose(1, 2)
        batch, rows, _, channels, _ = steps.shape
        # [batch * rows, steps, channels * unfold_size]
        steps = steps.flatten(3).flatten(0, 1)
        steps = getattr(self, f"{path}_mamba")(steps, weights)
        # A transposed convolution, whose channels come last
        linear = getattr(self, f"{path}_linear")
        output = _as_float32(steps @ linear.weight.flatten(1))
        output = output.unflatten(2, (channels, -1))
        output = _overlap_add(output, length, self.unfold_step) + linear.bias
        return output.unflatten(0, (batch, rows))

    def _attend(self, hidden):
        """Attend over frames; a head's values are channels x bins."""
        query_and_key, value = self._project(hidden)
        query, key = query_and_key.chunk(2, dim=1)
        output = F.scaled_dot_product_attention(query, key, value)
        # From [batch, heads, frames, channels / heads * bins]
        output = output.unflatten(3, (-1, hidden.shape[2]))
        output = output.permute(0, 2, 4, 1, 3).flatten(3)
        layer, prelu, norm = self.attn_concat_proj
        output = F.linear(output, layer.weight.flatten(1), layer.bias)
        return norm(prelu(output))

    def _project(self, hidden):
        """Project for all heads at once, for few operators.

        Returns queries and keys as one tensor [batch, 2 * heads, frames,
        channels * bins], and values [batch, heads, frames, channels * bins].
        """
        projections = [
            getattr(self, f"attn_conv_{name}_{head}")
            for name in "QKV"
            for head in range(self.heads)
        ]
        convolutions, *_ = zip(*projections, strict=True)
        weight = torch.cat([layer.weight for layer in convolutions])
        bias = torch.cat([layer.bias for layer in convolutions])
        projected = F.linear(hidden, weight.flatten(1), bias)
        last = sum(layer.out_channels for layer in convolutions[-self.heads :])
        parts = projected.split([len(bias) - last, last], dim=3)
        ours = projections[: -self.heads], projections[-self.heads :]
        return [
            _normalise_heads(part, layers)
            for part, layers in zip(parts, ours, strict=True)
        ]


def _normalise_heads(projected, projections):
    """Apply PReLU and norm to projections of the same size, side by side.

    From [batch, frames, bins, projections * channels] to [batch, projections,
    frames, channels * bins].
    """
    projected = projected.unflatten(3, (len(projections), -1))
    projected = projected.permute(0, 3, 1, 4, 2).flatten(3)
    _, activations, norms = zip(*projections, strict=True)
    slopes = torch.cat([activation.weight for activation in activations])
    # [projections, 1, channels * bins]
    gamma, beta = (
        torch.cat([getattr(norm, name) for norm in norms]).flatten(1)[:, None]
        for name in ("gamma", "beta")
    )
    projected = _as_float32(F.prelu(projected, slopes))
    size = projected.shape[3:]
    projected = F.layer_norm(projected, size, eps=norms[0].eps)
    return torch.addcmul(beta, projected, gamma)


def _as_float32(hidden):
    """Convert half precision: sums, and squares of what is loud, are FP32."""
    return hidden.to(torch.promote_types(hidden.dtype, torch.float32))


def _overlap_add(frames, length, step):
    """Add up overlapping frames.

    From [batch, frames, channels, size] to [batch, length, channels].
    """
    batch, _, channels, size = frames.shape
    # F.fold's counterpart for channels that come last
    return torch.ops.aten.unfold_backward(
        frames, [batch, length, channels], 1, size, step
    )


class BidirectionalMamba(torch.nn.Module):
    """A Mamba layer for each direction, with RMS norm and residual.

    Arguments
    ---------
    d_model : int
        Channels of a step.
    options : dict
        Of the Mamba layers.

    Example
    -------
    >>> layer = BidirectionalMamba(8, {"d_state": 4})
    >>> layer(torch.randn(2, 50, 8)).shape
    torch.Size([2, 50, 16])
    """

    def __init__(self, d_model: int, options: dict) -> None:
        super().__init__()
        self.forward_blocks = _direction(d_model, options)
        self.backward_blocks = _direction(d_model, options)

    def forward(
        self, steps: torch.Tensor, weights: Sequence | None = None
    ) -> torch.Tensor:
        """Transform [batch, time, d_model] to [batch, time, 2 * d_model].

        ``weights`` are its own if they have been stacked with other layers'.
        """
        weights = weights or _gather_weights([self])[0]
        # The norms' weights are in those of the first projections.
        normed = F.rms_norm(steps, steps.shape[-1:], eps=EPSILON)
        outputs = compute_mamba(normed, *weights).permute(1, 2, 0, 3)
        return (steps.unsqueeze(2) + outputs).flatten(2)


def _gather_weights(layers):
    """Stack the weights of all directions of all layers, for few operators.

    Returns those of each bidirectional layer, of shapes [2, ...].
    """
    both = [(layer.forward_blocks, layer.backward_blocks) for layer in layers]
    blocks = [block for (block,) in chain(*both)]
    if not blocks:
        return []
    norms = [block.norm.weight for block in blocks]
    stacked = stack_weights([block.mixer for block in blocks], norms)
    pairs = [weight.unflatten(0, (-1, 2)).unbind() for weight in stacked]
    return list(zip(*pairs, strict=True))


def _direction(d_model, options):
    """Make a direction's blocks: a list of one, as in published checkpoints."""
    layers = {
        "norm": torch.nn.RMSNorm(d_model, eps=EPSILON),
        "mixer": Mamba(d_model, **options),
    }
    return torch.nn.ModuleList([torch.nn.Sequential(OrderedDict(layers))])


class ChannelNorm(torch.nn.Module):
    """Layer norm over channels, or over channels and bins.

    Arguments
    ---------
    channels : int
        Number of channels.
    bins : int, None
        Number of bins, if the norm goes over them too.

    Example
    -------
    >>> ChannelNorm(4)(torch.randn(2, 10, 9, 4)).mean(dim=3).abs().max() < 1e-5
    tensor(True)
    """

    def __init__(self, channels: int, bins: int | None = None) -> None:
        super().__init__()
        self.eps = EPSILON
        self.first_dimension = 3 if bins is None else 2
        shape = (1, channels, 1, bins or 1)
        self.gamma = torch.nn.Parameter(torch.ones(shape))
        self.beta = torch.nn.Parameter(torch.zeros(shape))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Normalise [batch, frames, bins, channels]."""
        normed = hidden.shape[self.first_dimension :]
        gamma, beta = (
            parameter.transpose(1, 3).reshape(normed)
            for parameter in (self.gamma, self.beta)
        )
        hidden = _as_float32(hidden)
        return F.layer_norm(hidden, normed, gamma, beta, self.eps)


def _projection(channels, out_channels, bins):
    """A 1x1 convolution with PReLU and norm, of the attention."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, out_channels, 1),
        torch.nn.PReLU(),
        ChannelNorm(out_channels, bins),
    )


class SPMamba(torch.nn.Module):
    """Maps a mixture's spectrum to those of its sources.

    Arguments
    ---------
    n_sources : int
        Number of sources.
    fft_size : int
        Samples of an STFT frame; it has fft_size / 2 + 1 bins.
    hop_size : int
        Samples from frame to frame.
    blocks : int
        Number of blocks.
    hidden_channels : int
        Channels of each time-frequency bin, "emb_dim".
    unfold_size : int
        Neighbouring bins that a Mamba layer sees as one step, "emb_ks".
    unfold_step : int
        Bins from step to step, "emb_hs".
    attention_heads : int
        Heads of the attention; they divide ``hidden_channels``.
    attention_size : int
        Approximate number of values in a frame's query, "approx_qk_dim".
    state_size : int
        States of a Mamba layer's channel.
    convolution_size : int
        Steps of a Mamba layer's convolution.
    expansion : int
        Ratio of a Mamba layer's inner channels to its outer ones.
    norm_epsilon : float
        Of the group norm and the layer norms; the RMS norms before the Mamba
        layers have 1e-5, as published.

    Raises
    ------
    ValueError
        If frames or steps leave gaps, or the heads do not divide the channels.

    Example
    -------
    >>> separator = SPMamba(blocks=1, hidden_channels=4)
    >>> separator(torch.randn(2, 4001)).shape
    torch.Size([2, 4001, 2])
    """

    window: torch.Tensor

    def __init__(
        self,
        n_sources: int = 2,
        fft_size: int = 256,
        hop_size: int = 64,
        blocks: int = 4,
        hidden_channels: int = 16,
        unfold_size: int = 4,
        unfold_step: int = 1,
        attention_heads: int = 2,
        attention_size: int = 256,
        state_size: int = 16,
        convolution_size: int = 4,
        expansion: int = 4,
        norm_epsilon: float = EPSILON,
    ) -> None:
        super().__init__()
        if hop_size > fft_size // 2:
            raise ValueError(f"hop_size {hop_size} is over half of fft_size")
        if unfold_step > unfold_size:
            raise ValueError(f"unfold_step {unfold_step} is over unfold_size")
        if hidden_channels % attention_heads:
            raise ValueError("attention_heads do not divide hidden_channels")
        self.n_sources = n_sources
        self.fft_size = fft_size
        self.hop_size = hop_size
        # A buffer, so that it follows the model to its device.
        window = torch.hann_window(fft_size)
        self.register_buffer("window", window, persistent=False)
        self.conv = torch.nn.Sequential(
            torch.nn.Conv2d(2, hidden_channels, 3, padding=1),
            torch.nn.GroupNorm(1, hidden_channels, eps=EPSILON),
        )
        sizes = hidden_channels, fft_size // 2 + 1, unfold_size, unfold_step
        attention = attention_heads, attention_size
        mamba = {"d_state": state_size, "d_conv": convolution_size}
        mamba["expand"] = expansion
        self.blocks = torch.nn.ModuleList(
            Block(*sizes, *attention, mamba) for _ in range(blocks)
        )
        self.deconv = torch.nn.ConvTranspose2d(
            hidden_channels, 2 * n_sources, 3, padding=1
        )
        for module in self.modules():
            if isinstance(module, ChannelNorm | torch.nn.GroupNorm):
                module.eps = norm_epsilon

    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        """Estimate the sources [batch, time, n_sources] of [batch, time]."""
        dtype = torch.promote_types(mixture.dtype, torch.float32)
        mixture = mixture.to(dtype)
        level = _level(mixture)
        spectrum = self._analyse(mixture / level)
        hidden = self.conv(torch.stack([spectrum.real, spectrum.imag], dim=1))
        # Channels come last, for norms and Mamba layers without copies.
        hidden = hidden.permute(0, 2, 3, 1).contiguous()
        layers = [(b.intra_mamba, b.inter_mamba) for b in self.blocks]
        weights = iter(_gather_weights(chain(*layers)))
        for block in self.blocks:
            hidden = block(hidden, (next(weights), next(weights)))
        # [batch, n_sources * 2, frames, bins]
        parts = self.deconv(hidden.permute(0, 3, 1, 2)).to(dtype)
        estimates = self._synthesise(parts, mixture.shape[1])
        return estimates * level.unsqueeze(2)

    def check_device(self, device: str) -> None:
        """Find what computes the Mamba layers on a device, at the start."""
        choose_backend(device)

    def _analyse(self, mixture):
        """Compute the STFT, of shape [batch, frames, bins]."""
        # A frame at each end is mirrored, and must be there.
        missing = max(0, self.fft_size - mixture.shape[1])
        return torch.stft(
            F.pad(mixture, (0, missing)),
            self.fft_size,
            self.hop_size,
            window=self.window.to(mixture.dtype),
            return_complex=True,
        ).transpose(1, 2)

    def _synthesise(self, parts, length):
        """Invert the STFT of all sources, to [batch, length, n_sources]."""
        batch, _, frames, bins = parts.shape
        parts = parts.reshape(batch * self.n_sources, 2, frames, bins)
        spectrum = torch.complex(parts[:, 0], parts[:, 1])
        window = self.window.to(parts.dtype)
        signals = torch.fft.irfft(spectrum, self.fft_size) * window
        # As torch.istft, which on a GPU would wait for a check of the windows
        windows = window.square().expand(1, frames, -1)
        padded = self.fft_size + (frames - 1) * self.hop_size
        signals, total = (
            _overlap_add(part.unsqueeze(2), padded, self.hop_size)
            for part in (signals, windows)
        )
        inside = slice(self.fft_size // 2, self.fft_size // 2 + length)
        signals = (signals[:, inside] / total[:, inside]).squeeze(2)
        return signals.reshape(batch, self.n_sources, length).transpose(1, 2)


def _level(mixture):
    """Standard deviation of mixtures [batch, time], of shape [batch, 1]."""
    # In two steps, since the squares of a very quiet mixture underflow.
    peak = mixture.abs().amax(dim=1, keepdim=True)
    peak = torch.where(peak > 0, peak, 1.0)
    correction = min(1, mixture.shape[1] - 1)
    relative = (mixture / peak).std(dim=1, correction=correction, keepdim=True)
    # Silence and other constants have none.
    return peak * relative.clamp(min=SMALLEST_LEVEL)
