"""SPMamba: a network over time and frequency with Mamba layers.

Li, Chen, "SPMamba: State-space model is all you need in speech separation",
2024 (arXiv 2404.02063). Its blocks are those of TF-GridNet (Wang et al.,
"TF-GridNet: integrating full- and sub-band modeling for speech separation",
2023, arXiv 2211.12433) with Mamba layers for the BLSTMs. Parameters have the
names and shapes of the published implementation.
"""

import torch
from mamba.on_gpu import import_fused_layer
from spmamba_blocks import EPSILON, Block
from torch.nn import functional as F

SMALLEST_LEVEL = 1e-4  # of a mixture, as a part of its peak


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
        About as many values of each frame make a query, "approx_qk_dim".
    state_size : int
        States of a Mamba layer's channel.
    convolution_size : int
        Steps of a Mamba layer's convolution.
    expansion : int
        Times as many channels inside a Mamba layer as outside.

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
    ) -> None:
        super().__init__()
        if hop_size > fft_size // 2:
            raise ValueError(f"hop_size {hop_size} is over half of fft_size")
        if unfold_step > unfold_size:
            raise ValueError(f"unfold_step {unfold_step} is over unfold_size")
        if hidden_channels % attention_heads:
            raise ValueError(
                f"attention_heads {attention_heads} do not divide "
                f"hidden_channels {hidden_channels}"
            )
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
        self.blocks = torch.nn.ModuleList(
            Block(
                hidden_channels,
                fft_size // 2 + 1,
                unfold_size,
                unfold_step,
                attention_heads,
                attention_size,
                {
                    "d_state": state_size,
                    "d_conv": convolution_size,
                    "expand": expansion,
                },
            )
            for _ in range(blocks)
        )
        self.deconv = torch.nn.ConvTranspose2d(
            hidden_channels, 2 * n_sources, 3, padding=1
        )

    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        """Estimate the sources of mixtures.

        Arguments
        ---------
        mixture : torch.Tensor
            Shape [batch, time], of any length.

        Returns
        -------
        torch.Tensor
            Estimates, of shape [batch, time, n_sources].
        """
        dtype = torch.promote_types(mixture.dtype, torch.float32)
        mixture = mixture.to(dtype)
        level = _level(mixture)
        spectrum = self._analyse(mixture / level)
        hidden = self.conv(torch.stack([spectrum.real, spectrum.imag], dim=1))
        for block in self.blocks:
            hidden = block(hidden)
        # [batch, n_sources * 2, frames, bins]
        parts = self.deconv(hidden).to(dtype)
        estimates = self._synthesise(parts, mixture.shape[1])
        return estimates * level.unsqueeze(2)

    def check_device(self, device: str) -> None:
        """Check, before a training, that the Mamba layers can be computed.

        Arguments
        ---------
        device : str
            Where.

        Raises
        ------
        UserError
            If not, saying what to install.
        """
        if device != "cpu":
            import_fused_layer(device)

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
        signals = torch.istft(
            torch.complex(parts[:, 0], parts[:, 1]).transpose(1, 2),
            self.fft_size,
            self.hop_size,
            window=self.window.to(parts.dtype),
            length=max(length, self.fft_size),
        )[:, :length]
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
