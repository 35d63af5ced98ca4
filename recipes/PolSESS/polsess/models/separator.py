"""Encoder, mask network and decoder: separation by masking.

ConvTasNet, DPRNN and SepFormer differ only in the network that estimates the
masks. Around it, an encoder turns the mixture into frames and a decoder turns
each source's masked frames back into a signal (Luo, Mesgarani, "Conv-TasNet:
surpassing ideal time-frequency magnitude masking for speech separation", 2019,
arXiv 1809.07454).
"""

import torch
from torch.nn import functional as F


class MaskingSeparator(torch.nn.Module):
    """Encoder, mask network and decoder as one module.

    Arguments
    ---------
    encoder : torch.nn.Module
        Mixture [batch, time] -> representation [batch, channels, frames], such
        as SpeechBrain's ``dual_path.Encoder``.
    mask_network : torch.nn.Module
        Representation -> masks [n_sources, batch, channels, frames].
    decoder : torch.nn.Module
        Representation -> signal [batch, time], such as ``dual_path.Decoder``.
    kernel_size : int
        Length of the encoder's filters in samples; its stride is half of it.
    minimum_frames : int
        Shortest representation that the mask network takes.
    complete_frames : bool
        Whether samples at the end that fill no frame are completed with zeros.
        SpeechBrain's ``SepformerSeparation`` drops them, and estimates zeros.

    Example
    -------
    >>> from speechbrain.lobes.models.conv_tasnet import MaskNet
    >>> from speechbrain.lobes.models.dual_path import Decoder, Encoder
    >>> separator = MaskingSeparator(
    ...     Encoder(kernel_size=16, out_channels=8),
    ...     MaskNet(N=8, B=4, H=8, P=3, X=2, R=1, C=2),
    ...     Decoder(8, 1, kernel_size=16, stride=8, bias=False),
    ...     kernel_size=16,
    ...     minimum_frames=3,
    ... )
    >>> separator(torch.randn(3, 8001)).shape
    torch.Size([3, 8001, 2])
    """

    def __init__(
        self,
        encoder: torch.nn.Module,
        mask_network: torch.nn.Module,
        decoder: torch.nn.Module,
        kernel_size: int,
        minimum_frames: int = 1,
        complete_frames: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.mask_network = mask_network
        self.decoder = decoder
        self.kernel_size = kernel_size
        self.stride = kernel_size // 2
        self.minimum_frames = minimum_frames
        self.complete_frames = complete_frames
        for module in mask_network.modules():
            # torch's own norms compute in FP32 within.
            own = type(module).__module__.startswith("torch.")
            if type(module).__name__.endswith("Norm") and not own:
                module.register_forward_pre_hook(_in_float32)

    def forward(self, mixture: torch.Tensor) -> torch.Tensor:
        """Estimate the sources [batch, time, n_sources] of [batch, time]."""
        batch, time = mixture.shape
        # The encoder itself drops the samples that fill no frame.
        beyond = max(0, time - self.kernel_size)
        if self.complete_frames:
            # To round up; ONNX would round -(-beyond // stride) down.
            beyond = beyond + self.stride - 1
        frames = beyond // self.stride + 1
        frames = max(self.minimum_frames, frames)
        padded = self.kernel_size + (frames - 1) * self.stride
        # SpeechBrain's ConvTasNet adds 1e-8 to a variance, which FP16 rounds
        # to 0: a pause in the speech would become 0 / 0.
        (mixture,) = _in_float32(self, (mixture,))
        with torch.autocast(mixture.device.type, enabled=False):
            representation = self.encoder(F.pad(mixture, (0, padded - time)))
        masks = self.mask_network(representation)
        # All sources of all mixtures pass the decoder as one batch.
        estimates = self.decoder((masks * representation).flatten(0, 1))
        estimates = estimates.reshape(-1, batch, padded)
        if not self.complete_frames:
            estimates = F.pad(estimates, (0, max(0, time - padded)))
        return estimates[..., :time].permute(1, 2, 0)


def _in_float32(module, inputs):
    """Give a module its inputs in FP32: half precision has no exact means."""
    return tuple(
        x.to(torch.promote_types(x.dtype, torch.float32)) for x in inputs
    )
