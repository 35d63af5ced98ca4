"""The frame of the masking models."""

import pytest
import torch
from polsess.models.separator import MaskingSeparator

from speechbrain.lobes.models.dual_path import Decoder, Encoder


class OnesAndZeros(torch.nn.Module):
    """Masks that pass everything to the first source."""

    def forward(self, representation):
        """Make two masks."""
        return torch.stack(
            [torch.ones_like(representation), torch.zeros_like(representation)]
        )


def make_separator(kernel_size=16, minimum_frames=1):
    """Make a separator whose decoder undoes its encoder."""
    separator = MaskingSeparator(
        Encoder(kernel_size, 2 * kernel_size),
        OnesAndZeros(),
        Decoder(
            2 * kernel_size,
            1,
            kernel_size=kernel_size,
            stride=kernel_size // 2,
            bias=False,
        ),
        kernel_size,
        minimum_frames,
    )
    # The positive and the negative part of each sample pass the ReLU apart;
    # where two frames overlap the sum is twice the signal.
    identity = torch.eye(kernel_size).unsqueeze(1)
    with torch.no_grad():
        separator.encoder.conv1d.weight.copy_(torch.cat([identity, -identity]))
        separator.decoder.weight.copy_(0.5 * torch.cat([identity, -identity]))
    return separator


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("time", [1, 15, 16, 17, 4000, 4001, 4007])
def test_reconstructs_any_length(batch, time):
    mixture = torch.randn(batch, time)
    with torch.no_grad():
        estimates = make_separator()(mixture)
    assert estimates.shape == (batch, time, 2)
    assert torch.all(estimates[..., 1] == 0)
    inner = slice(8, time - 8)  # each sample there is in two frames
    torch.testing.assert_close(estimates[:, inner, 0], mixture[:, inner])


def test_batch_items_do_not_mix():
    separator = make_separator(minimum_frames=20)
    mixture = torch.randn(2, 100)
    with torch.no_grad():
        together = separator(mixture)
        apart = torch.cat([separator(mixture[:1]), separator(mixture[1:])])
    torch.testing.assert_close(together, apart)
