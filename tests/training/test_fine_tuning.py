"""Trainings that start from weights that are there."""

import json
import shutil
from pathlib import Path

import export
import pytest
import torch
from polsess.errors import UserError
from polsess.inference.models import load_trained_run
from polsess.models.convtasnet import MaskNet
from polsess.models.sepformer import TransformerBlock
from polsess.training.fine_tuning import find_misfits
from small_models import SMALL
from small_runs import assert_same_weights, run, weights
from speechbrain_layout import write_speechbrain_model

from speechbrain.lobes.models import conv_tasnet
from speechbrain.lobes.models.dual_path import SBTransformerBlock

# Steps too small to change a weight: what comes out is what was put in.
STILL = {
    "max_grad_norm": 1e-14,
    "number_of_epochs": 1,
    "lr": 1e-12,
    "train_size": 4,
    "test_variants": "[SER]",
}
# Of the models that tests/speechbrain_layout.py writes.
LIKE_PUBLIC = {
    "convtasnet": {
        "encoder_filters": 32,
        "bottleneck_channels": 16,
        "block_channels": 32,
        "blocks": 3,
        "repeats": 1,
    },
    "dprnn": SMALL["dprnn"],
    "sepformer": SMALL["sepformer"],
}


def close(first, second):
    """Whether two state dicts hold the same, but for a still training."""
    return first.keys() == second.keys() and all(
        torch.allclose(first[name].double(), second[name].double(), atol=1e-8)
        for name in first
    )


@pytest.mark.parametrize("model", SMALL)
def test_runs_and_exported_models(model, trained_runs, small_corpus, tmp_path):
    source = trained_runs(model)
    export.main([str(source), "exported"])
    best = load_trained_run(source)
    for name in (source, "exported"):
        folder = run(
            model, small_corpus, tmp_path / "new", pretrained=name, **STILL
        )
        assert close(weights(folder), best.separator.state_dict())
        result = json.loads((folder / "result.json").read_text())
        assert result["settings"]["pretrained"] == str(name)
        assert result["settings"]["pretrained_weights"]
        assert result["epochs_run"] == 1
        shutil.rmtree(folder)


@pytest.mark.parametrize("model", LIKE_PUBLIC)
def test_public_models_of_speechbrain(model, small_corpus, tmp_path):
    source = write_speechbrain_model(tmp_path / "public", model)
    folder = run(
        model,
        small_corpus,
        tmp_path / "new",
        pretrained=source,
        trust_pretrained=True,
        **STILL | LIKE_PUBLIC[model],
    )
    expected = {}
    parts = {"encoder": "encoder", "masknet": "mask_network"}
    for name, part in {**parts, "decoder": "decoder"}.items():
        for key, tensor in torch.load(source / f"{name}.ckpt").items():
            expected[f"{part}.{key}"] = tensor
    assert close(weights(folder), expected)


def test_a_resumed_run_goes_on_with_its_own(
    trained_runs, small_corpus, tmp_path
):
    """Even if what it began with is gone, or has learned more."""
    source = shutil.copytree(trained_runs("convtasnet"), tmp_path / "source")
    options = {"pretrained": source, "ema_decay": 0.5}

    def train(folder, **changed):
        return run(
            "convtasnet", small_corpus, tmp_path / folder, **options | changed
        )

    whole = train("whole", number_of_epochs=2)
    parts = train("parts", number_of_epochs=1)
    noted = json.loads((parts / "settings.json").read_text())
    # The same weights at another place are the same start.
    moved = Path(shutil.move(source, tmp_path / "moved"))
    before = weights(parts)
    train("parts", number_of_epochs=1, pretrained=moved)
    assert close(weights(parts), before)
    train("parts", number_of_epochs=1, pretrained=moved)
    shutil.rmtree(moved)
    train("parts", number_of_epochs=2, pretrained=moved)
    assert_same_weights(whole, parts)
    settings = json.loads((parts / "settings.json").read_text())
    assert settings["pretrained_weights"] == noted["pretrained_weights"]
    with pytest.raises(UserError, match="there is no such folder"):
        train("parts", pretrained=source)
    with pytest.raises(UserError, match="pretrained_weights was '"):
        run("convtasnet", small_corpus, parts, ema_decay=0.5)


def test_other_weights_are_another_run(trained_runs, small_corpus, tmp_path):
    source = trained_runs("convtasnet")
    folder = run(
        "convtasnet", small_corpus, tmp_path / "first", pretrained=source
    )
    with pytest.raises(UserError, match="pretrained_weights was '.*now '"):
        run("convtasnet", small_corpus, folder, pretrained=folder)
    anew = run("convtasnet", small_corpus, tmp_path / "anew")
    with pytest.raises(UserError, match="pretrained_weights was 'no setting'"):
        run("convtasnet", small_corpus, anew, pretrained=source)


def test_corrupt_checkpoints_do_not_make_it_start_from_nothing(
    trained_runs, small_corpus, tmp_path
):
    options = {"pretrained": trained_runs("dprnn"), **STILL}
    folder = run("dprnn", small_corpus, tmp_path / "run", **options)
    before = weights(folder)
    for path in folder.glob("save/*/separator.ckpt"):
        path.write_bytes(b"torn")
    run("dprnn", small_corpus, folder, **options)
    assert close(weights(folder), before)


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        (
            "dprnn",
            {"hidden_channels": 16},
            "size mismatch for mask_network.*128, 32.*64, 32",
        ),
        ("dprnn", {"dual_path_blocks": 2}, r"Missing key.*dual_mdl\.1"),
        ("convtasnet", {"blocks": 3}, "Unexpected key"),
        (
            "sepformer",
            {"attention_heads": 2},
            r"att\.num_heads is 4, here 2",
        ),
        (
            "sepformer",
            {"task": "ES", "n_sources": 1},
            r"conv2d\.weight: .*64, 32, 1, 1.*32, 32, 1, 1",
        ),
        ("spmamba", {"hop_size": 16}, "hop_size is 32, here 16"),
        ("spmamba", {"norm_epsilon": 1e-5}, "eps is 0.0001, here 1e-05"),
    ],
)
def test_what_does_not_fit_is_named_before_anything_is_done(
    model, options, named, trained_runs, small_corpus, tmp_path
):
    with pytest.raises(UserError, match=named) as error:
        run(
            model,
            small_corpus,
            tmp_path / "run",
            pretrained=trained_runs(model),
            **options,
        )
    assert "Give the options with which it was trained" in str(error.value)
    assert not (tmp_path / "run/settings.json").exists()
    assert not (tmp_path / "run/manifests").exists()


def test_a_missing_model_is_named(small_corpus, tmp_path):
    with pytest.raises(UserError, match="nowhere: there is no such folder"):
        run("dprnn", small_corpus, tmp_path / "run", pretrained="nowhere")


def test_stock_and_our_blocks_fit():
    sizes = {"num_layers": 1, "d_model": 8, "nhead": 2, "d_ffn": 8}
    stock = SBTransformerBlock(**sizes, norm_before=True)
    assert find_misfits(stock, TransformerBlock(**sizes)) == []


def test_another_norm_or_activation_of_the_same_parameters_does_not_fit():
    sizes = {"num_layers": 1, "d_model": 8, "nhead": 2, "d_ffn": 8}
    gelu = SBTransformerBlock(**sizes, norm_before=True, activation="gelu")
    (misfit,) = find_misfits(gelu, TransformerBlock(**sizes))
    assert misfit.endswith("pos_ffn.ffn.1 is GELU, here ReLU")
    sizes = {"N": 8, "B": 4, "H": 8, "P": 3, "X": 1, "R": 1, "C": 2}
    by_frame = conv_tasnet.MaskNet(**sizes, norm_type="cLN")
    misfits = find_misfits(by_frame, MaskNet(**sizes))
    assert len(misfits) == 2
    for misfit in misfits:
        assert "is ChannelwiseLayerNorm, here GlobalLayerNorm" in misfit
    by_all = conv_tasnet.MaskNet(**sizes)
    assert find_misfits(by_all, MaskNet(**sizes)) == []
