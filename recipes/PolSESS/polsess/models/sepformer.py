"""Transformer block of SepFormer that keeps no attention weights.

SpeechBrain's layers return the weights of every attention, which are not used
here: ``heads`` numbers for each pair of frames are computed, averaged and kept
for the backward pass. Torch's ``scaled_dot_product_attention`` does without
them. Parameters, their names and the result are SpeechBrain's.

Subakan et al., "Attention is all you need in speech separation", 2021
(arXiv 2010.13154).
"""

import torch
from torch.nn import functional as F

from speechbrain.lobes.models.dual_path import SBTransformerBlock


class TransformerBlock(SBTransformerBlock):
    """SpeechBrain's block, with norms before attention and feed-forward.

    Arguments
    ---------
    num_layers : int
        Number of layers.
    d_model : int
        Channels.
    nhead : int
        Heads of the attention.
    d_ffn : int
        Channels inside the feed-forward networks.
    dropout : float
        Probability, 0 to 1.
    use_positional_encoding : bool
        Whether to add a positional encoding.

    Example
    -------
    >>> import torch
    >>> sizes = dict(num_layers=2, d_model=16, nhead=4, d_ffn=32)
    >>> stock = SBTransformerBlock(**sizes, norm_before=True).eval()
    >>> ours = TransformerBlock(**sizes).eval()
    >>> _ = ours.load_state_dict(stock.state_dict())
    >>> x = torch.randn(3, 50, 16)
    >>> torch.allclose(ours(x), stock(x), atol=1e-5)
    True
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        nhead: int,
        d_ffn: int = 2048,
        dropout: float = 0.1,
        use_positional_encoding: bool = False,
    ) -> None:
        super().__init__(
            num_layers,
            d_model,
            nhead,
            d_ffn,
            dropout=dropout,
            use_positional_encoding=use_positional_encoding,
            norm_before=True,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform sequences [batch, time, channels]."""
        if self.use_positional_encoding:
            x = x + self.pos_enc(x)
        for layer in self.mdl.layers:
            attended = _attend(layer.norm1(x), layer.self_att.att)
            x = x + layer.dropout1(attended)
            # Not through pos_ffn itself, which transposes batch and time.
            x = x + layer.dropout2(layer.pos_ffn.ffn(layer.norm2(x)))
        return self.mdl.norm(x)


def _attend(x, attention):
    """Attend over the frames of [batch, time, channels].

    Equals ``torch.nn.MultiheadAttention``, which transposes batch and time.
    """
    projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    # [3, batch, heads, time, channels of a head]
    query, key, value = projected.unflatten(
        -1, (3, attention.num_heads, -1)
    ).permute(2, 0, 3, 1, 4)
    dropout = attention.dropout if attention.training else 0.0
    attended = F.scaled_dot_product_attention(query, key, value, None, dropout)
    return attention.out_proj(attended.transpose(1, 2).flatten(2))
