"""What an exported model gives, compared in tests."""

import torch

MASKING = ("convtasnet", "dprnn", "sepformer")
# No whole number of frames, one frame more, and several mixtures.
LENGTHS = ((1, 4001), (2, 4008), (1, 8005))


def estimates_of(separate, lengths=LENGTHS):
    """Separate noise of several lengths."""
    generator = torch.Generator().manual_seed(0)
    mixtures = [
        torch.randn(n, time, generator=generator) for n, time in lengths
    ]
    with torch.no_grad():
        return [separate(mixture) for mixture in mixtures]
