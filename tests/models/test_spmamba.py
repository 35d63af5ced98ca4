"""SPMamba's parameters, its parts, and the levels it takes."""

import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from polsess.errors import UserError
from polsess.models.description import build
from polsess.models.mamba import BACKENDS, in_each_direction
from polsess.models.spmamba import Block, SPMamba
from polsess.training.settings import load_hparams, parse_arguments
from small_mamba import sequential_mamba
from small_models import HPARAMS, small_arguments
from straight_spmamba import straight_spmamba

YAML = str(HPARAMS / "spmamba.yaml")
PAPER = "--blocks 6 --unfold_size 8 --attention_heads 4 --attention_size 512"


def make_small(**options):
    """Make a small network, its parameters off their first values."""
    torch.manual_seed(0)
    model = SPMamba(
        fft_size=32,
        hop_size=8,
        blocks=2,
        hidden_channels=4,
        unfold_size=3,
        attention_size=32,
        state_size=3,
        expansion=2,
        **options,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_the_complete_list_of_published_parameters():
    path = Path(__file__).parent / "spmamba_parameters.csv"
    expected = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            name = row["name"]
            first = name.startswith("blocks.0.")
            for block in range(4 if first else 1):
                here = f"blocks.{block}." + name.removeprefix("blocks.0.")
                expected[here if first else name] = row["shape"]
    separator = load_hparams(
        *parse_arguments([YAML, "--data_folder", "unused"])
    )["separator"]
    found = {
        name: "x".join(map(str, tensor.shape))
        for name, tensor in separator.state_dict().items()
    }
    assert found == expected
    assert sum(p.numel() for p in separator.parameters()) == 1156368


def test_the_papers_setting_is_reachable_by_options():
    arguments = [YAML, "--data_folder", "unused", *PAPER.split()]
    separator = load_hparams(*parse_arguments(arguments))["separator"]
    assert sum(p.numel() for p in separator.parameters()) == 6094498


@pytest.mark.parametrize("epsilon", [1e-5, 1e-4])
def test_the_network_is_the_published_one(epsilon):
    model = make_small(norm_epsilon=epsilon).double()
    mixture = torch.randn(2, 504, dtype=torch.float64)
    sizes = 32, 8, 3
    with torch.no_grad():
        found = model(mixture)
        expected, other = (
            straight_spmamba(model.state_dict(), mixture, *sizes, eps)
            for eps in (epsilon, 1.1 * epsilon)
        )
    assert (found - expected).abs().max() / expected.abs().max() < 1e-9
    assert (found - other).abs().max() / expected.abs().max() > 1e-8


def test_the_epsilon_is_of_all_norms_but_the_rms_norms():
    arguments = [YAML, "--data_folder", "unused"]
    names = {"ChannelNorm", "GroupNorm", "RMSNorm"}
    for options, expected in (([], 1e-4), (["--norm_epsilon", "1e-5"], 1e-5)):
        hparams = load_hparams(*parse_arguments([*arguments, *options]))
        kinds = {
            (type(module).__name__, module.eps)
            for module in hparams["separator"].modules()
            if hasattr(module, "eps")
        }
        of_norms = {(name, expected) for name in names - {"RMSNorm"}}
        assert kinds == of_norms | {("RMSNorm", 1e-5)}
    # Exports and runs from before it was a setting do not name it.
    name = "polsess.models.spmamba.SPMamba"
    earlier = build({"class": name, "arguments": {"blocks": 1}}, "")
    assert earlier.conv[1].eps == earlier.blocks[0].intra_norm.eps == 1e-5


def test_the_network_with_a_slow_exact_scan(monkeypatch):
    model = make_small()
    mixture = torch.randn(2, 500)
    estimates = model(mixture)
    estimates.square().sum().backward()
    exact = make_small().double()
    exact_scan = partial(in_each_direction, sequential_mamba)
    monkeypatch.setitem(BACKENDS, "cpu", exact_scan)
    expected = exact(mixture.double())
    expected.square().sum().backward()
    largest = expected.abs().max()
    assert (estimates - expected).abs().max() / largest < 1e-4
    # Some, as the attention keys' offsets, have no effect: gradients near 0.
    smallest = 1e-3 * max(p.grad.abs().max() for p in exact.parameters())
    for ours, other in zip(model.parameters(), exact.parameters(), strict=True):
        scale = other.grad.abs().max().clamp(min=smallest)
        assert (ours.grad - other.grad).abs().max() / scale < 1e-3


def test_levels_pass_through():
    model = make_small()
    mixture = torch.randn(1, 500)
    with torch.no_grad():
        estimates = model(mixture)
        for level in (1e-30, 1e-4, 1000.0):
            error = model(level * mixture) / level - estimates
            assert error.abs().max() / estimates.abs().max() < 1e-3


def test_a_gpu_is_never_waited_for(monkeypatch):
    monkeypatch.setitem(
        BACKENDS, "torch", lambda hidden, *_: hidden.expand(2, -1, -1, -1)
    )
    # Up to torch 2.10 there is none for this device.
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda _: torch.float16)
    # Tensors without values: what would read one raises an error.
    estimates = make_small().to("meta")(torch.empty(2, 500, device="meta"))
    assert estimates.shape == (2, 500, 2)


@pytest.mark.parametrize("length", [500, 512, 519])
def test_no_sample_is_lost_between_the_transforms(length):
    model = SPMamba(fft_size=32, hop_size=16, blocks=0).double()
    mixture = torch.randn(2, length, dtype=torch.float64)
    spectrum = model._analyse(mixture)
    parts = torch.stack([spectrum.real, spectrum.imag], dim=1)
    estimates = model._synthesise(torch.cat([parts, 2 * parts], 1), length)
    expected = torch.stack([mixture, 2 * mixture], dim=2)
    assert torch.allclose(estimates, expected)


def test_mixtures_of_a_batch_do_not_meet():
    model = make_small()
    mixture = torch.randn(3, 500)
    with torch.no_grad():
        together = model(mixture * torch.tensor([[1.0], [100.0], [0.0]]))
        alone = model(mixture[:1])
    assert torch.allclose(together[:1], alone, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 17), (2, 17), (10, 17), (11, 17)])
def test_steps_that_do_not_fit_are_completed(size):
    block = Block(4, 17, 3, 2, 2, 64, {"d_state": 2})
    hidden = torch.randn(1, *size, 4)
    assert block(hidden).shape == hidden.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention_heads": 3}, "attention_heads do not divide"),
        ({"hop_size": 40}, "hop_size 40 is over half of fft_size"),
        ({"unfold_step": 3}, "unfold_step 3 is over unfold_size"),
        ({"state_size": 0}, "--state_size 0: give a whole number above 0"),
    ],
)
def test_settings_that_do_not_fit(options, message):
    with pytest.raises(UserError, match=message):
        load_hparams(
            *parse_arguments(
                small_arguments("spmamba", data_folder="unused", **options)
            )
        )
