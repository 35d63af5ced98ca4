"""SepFormer's transformer against SpeechBrain's, with the same weights."""

import pytest
import torch
from polsess.models.sepformer import TransformerBlock

from speechbrain.lobes.models.dual_path import SBTransformerBlock

SIZES = {"num_layers": 2, "d_model": 16, "nhead": 4, "d_ffn": 24}


def pair_of_blocks(dropout=0.0, use_positional_encoding=True):
    """Make ours and SpeechBrain's with the same drawn weights, in FP64."""
    torch.manual_seed(0)
    options = {
        "dropout": dropout,
        "use_positional_encoding": use_positional_encoding,
    }
    ours = TransformerBlock(**SIZES, **options).double()
    with torch.no_grad():
        for parameter in ours.parameters():  # norms would be ones and zeros
            parameter += 0.1 * torch.randn_like(parameter)
    stock = SBTransformerBlock(**SIZES, **options, norm_before=True).double()
    stock.load_state_dict(ours.state_dict())
    return ours, stock


@pytest.mark.parametrize("use_positional_encoding", [True, False])
@pytest.mark.parametrize("shape", [(3, 50, 16), (1, 1, 16)])
def test_equals_speechbrain_with_gradients(shape, use_positional_encoding):
    results = []
    given = torch.randn(shape, dtype=torch.float64)
    for block in pair_of_blocks(
        use_positional_encoding=use_positional_encoding
    ):
        x = given.clone().requires_grad_()
        y = block(x)
        y.square().sum().backward()
        gradients = [p.grad for p in block.parameters()]
        results.append([y.detach(), x.grad, *gradients])
    for ours, stock in zip(*results, strict=True):
        torch.testing.assert_close(ours, stock, rtol=1e-8, atol=1e-10)


def test_keeps_no_attention_for_the_backward_pass():
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    frames = 300
    x = torch.randn(1, frames, 16, dtype=torch.float64)
    counts = []
    for block in pair_of_blocks():
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            block(x)
        counts.append(sum(size >= SIZES["nhead"] * frames**2 for size in kept))
    assert counts[0] == 0
    assert counts[1] >= SIZES["num_layers"]
