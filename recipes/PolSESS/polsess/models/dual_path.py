"""Dual-path network of DPRNN and SepFormer, padded where it computes.

SpeechBrain's makes its padding on the CPU and copies it, for which a GPU has to
wait. Parameters, their names and the result are SpeechBrain's.
"""

import torch
from torch.nn import functional as F

from speechbrain.lobes.models.dual_path import Dual_Path_Model


class DualPathModel(Dual_Path_Model):
    """Dual-path network; the arguments are those of SpeechBrain's.

    Example
    -------
    >>> from speechbrain.lobes.models.dual_path import SBRNNBlock
    >>> block = SBRNNBlock(8, 8, num_layers=1, bidirectional=True)
    >>> network = DualPathModel(8, 8, block, block, num_layers=1, K=10)
    >>> network(torch.randn(3, 8, 101)).shape
    torch.Size([2, 3, 8, 101])
    """

    def _padding(self, hidden: torch.Tensor, size: int) -> tuple:
        """Pad frames so that chunks that overlap by half fill them."""
        half = size // 2
        gap = size - (half + hidden.shape[2] % size) % size
        return F.pad(hidden, (half, gap + half)), gap
