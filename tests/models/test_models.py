"""The published models: sizes, shapes, and that they learn."""

import numpy as np
import pytest
import torch
from polsess.scoring.objective import pit_si_sdr, separation_loss
from polsess.training.settings import load_hparams, parse_arguments
from small_models import HPARAMS, SMALL, small_arguments

from speechbrain.lobes.models import conv_tasnet

# Parameters of the published networks, in millions
PUBLISHED = {"convtasnet": 8.7, "dprnn": 2.6, "sepformer": 25.7, "spmamba": 1.2}


def load_separator(model, **options):
    """Make a model from its YAML, small."""
    arguments = small_arguments(model, data_folder="unused", **options)
    return load_hparams(*parse_arguments(arguments))["separator"]


def voice(pitch, seconds=0.5, sample_rate=8000):
    """Make a sound with the harmonics of a voice, swelling four times a s."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    harmonics = [
        np.sin(2 * np.pi * pitch * n * time + n) / n for n in range(1, 9)
    ]
    swell = 1 + 0.8 * np.sin(2 * np.pi * 4 * time + pitch)
    return torch.tensor(sum(harmonics) * swell, dtype=torch.float32)


@pytest.mark.parametrize("model", list(PUBLISHED))
def test_published_sizes(model):
    yaml = str(HPARAMS / f"{model}.yaml")
    arguments = [yaml, "--data_folder", "unused", "--precision", "fp32"]
    separator = load_hparams(*parse_arguments(arguments))["separator"]
    parameters = sum(p.numel() for p in separator.parameters())
    assert round(parameters / 1e6, 1) == PUBLISHED[model]


@pytest.mark.parametrize("model", list(SMALL))
def test_any_batch_and_length(model):
    separator = load_separator(model)
    for shape in [(1, 1), (2, 100), (3, 4001)]:
        with torch.no_grad():
            estimates = separator(torch.randn(shape))
        assert estimates.shape == (*shape, 2)
        assert estimates.isfinite().all()


@pytest.mark.parametrize("model", list(SMALL))
def test_one_target_for_extraction(model):
    separator = load_separator(model, task="ES", n_sources=1)
    assert separator(torch.randn(2, 800)).shape == (2, 800, 1)


@pytest.mark.parametrize("model", list(SMALL))
def test_overfits_one_batch(model):
    torch.manual_seed(0)
    separator = load_separator(model)
    targets = torch.stack(
        [
            torch.stack([voice(110), voice(210)], dim=-1),
            torch.stack([voice(170), voice(290)], dim=-1),
        ]
    )
    mixture = targets.sum(dim=-1)
    optimiser = torch.optim.Adam(separator.parameters(), lr=3e-3)
    for _ in range(400):
        si_sdr, _ = pit_si_sdr(separator(mixture), targets)
        if si_sdr.mean() > 10:
            break
        optimiser.zero_grad()
        (-si_sdr.mean()).backward()
        torch.nn.utils.clip_grad_norm_(separator.parameters(), 5.0)
        optimiser.step()
    assert si_sdr.mean() > 10


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("model", list(SMALL))
def test_pauses_are_finite_in_half_precision(model, dtype):
    torch.manual_seed(0)
    separator = load_separator(model)
    mixture = 0.1 * torch.randn(2, 2000)
    mixture[:, 500:564] = 0.0
    mixture[:, 1000:1400] = torch.randint(-1, 2, (2, 400)) / 2**15
    with torch.autocast("cpu", dtype=dtype):
        estimates = separator(mixture)
    assert estimates.isfinite().all()
    estimates.float().square().mean().backward()
    gradients = [p.grad for p in separator.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("level", [0.0, 1e-4, 1000.0])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", list(SMALL))
def test_any_level_is_finite(model, precision, level):
    torch.manual_seed(0)
    separator = load_separator(model)
    targets = 0.1 * torch.randn(2, 2000, 2)
    mixture = level * targets.sum(dim=-1)
    bf16 = precision == "bf16"
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        estimates = separator(mixture)
    assert estimates.isfinite().all()
    loss = separation_loss(targets, estimates, spectral_weight=1.0)
    assert loss.isfinite()
    loss.backward()
    gradients = [p.grad for p in separator.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("model", list(SMALL))
def test_norms_are_computed_in_float32_under_autocast(model):
    separator = load_separator(model)
    if model == "convtasnet":  # as runs with SpeechBrain's own blocks have it
        separator.mask_network.__class__ = conv_tasnet.MaskNet
    seen = []

    def note(module, inputs, output):
        seen.append((type(module).__name__, output.dtype))

    for module in separator.modules():
        if type(module).__name__.endswith("Norm"):
            module.register_forward_hook(note)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        separator(torch.randn(1, 2000))
    # torch's own norms compute in FP32 within, whatever they are given.
    own = ("GroupNorm", "LayerNorm", "RMSNorm")
    others = {dtype for name, dtype in seen if name not in own}
    assert others <= {torch.float32}
    assert seen
