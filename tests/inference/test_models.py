"""Models loaded: runs, exported models and SpeechBrain's public ones."""

import hashlib
import io
import json
import os
import pickle
import shutil
from functools import partial

import pandas as pd
import pytest
import separate
import soundfile
import torch
import yaml
from fake_separators import noise
from polsess.data.dataset import RenderedMixtures, read_manifest
from polsess.data.sampling import all_examples
from polsess.errors import UserError
from polsess.files import hash_file
from polsess.inference import SpeechSeparation
from polsess.inference.models import load_model, load_trained_run
from polsess.scoring.objective import pit_si_sdr
from small_exports import estimates_of
from small_models import SMALL
from speechbrain_layout import FAMILIES, write_speechbrain_model

from speechbrain.inference.separation import SepformerSeparation


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        """Say what unpickling calls."""
        return os.mkdir, (str(self.folder),)


def saved(item):
    """Save as torch does."""
    file = io.BytesIO()
    torch.save(item, file)
    return file.getvalue()


def contents(folder):
    """List a folder's files with their times and sizes."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
    }


def scores(run, corpus):
    """Score a separator as the test of a training does."""
    rows = read_manifest(run.folder / "manifests/test_all.csv", corpus)
    mixtures = RenderedMixtures(rows, run.settings["task"])
    found = []
    for example in all_examples(rows, run.settings["test_variants"]):
        item = mixtures[example]
        with torch.no_grad():
            estimates = run.separator(item["mixture"].unsqueeze(0))
        si_sdr, _ = pit_si_sdr(estimates, item["targets"].unsqueeze(0))
        found.append(si_sdr.mean().item())
    return found


@pytest.mark.parametrize("model", SMALL)
def test_the_separator_is_the_one_that_was_tested(
    model, trained_runs, small_corpus
):
    folder = trained_runs(model)
    before = contents(folder)
    run = load_trained_run(folder)
    assert not run.separator.training
    expected = pd.read_csv(folder / "test.csv")["si_sdr"]
    assert scores(run, small_corpus) == pytest.approx(expected, abs=1e-3)
    result = json.loads((folder / "result.json").read_text())
    assert run.checkpoint["epoch"] == result["best_epoch"]
    assert run.checkpoint["valid_si_sdr"] == result["best_valid_si_sdr"]
    assert run.parameters == result["parameters"]
    assert contents(folder) == before


def test_averaged_weights(trained_runs, small_corpus):
    folder = trained_runs("dprnn")
    run = load_trained_run(folder, averaged=True)
    expected = pd.read_csv(folder / "test_averaged.csv")["si_sdr"]
    metas = [
        yaml.safe_load(path.read_text())
        for path in folder.glob("save/*/CKPT.yaml")
    ]
    assert run.checkpoint["valid_si_sdr"] == max(
        m["averaged_si_sdr"] for m in metas
    )
    assert run.weights_checksum != load_trained_run(folder).weights_checksum
    # test_averaged.csv is of the epoch in which the others are best.
    raw = load_trained_run(folder).checkpoint
    assert run.checkpoint["epoch"] == raw["epoch"]
    assert scores(run, small_corpus) == pytest.approx(expected, abs=1e-3)


@pytest.fixture
def copied_run(trained_runs, tmp_path):
    """Copy a run for a test that damages it."""
    return shutil.copytree(trained_runs("convtasnet"), tmp_path / "run")


def best_checkpoint(folder):
    """Find the folder of the best checkpoint."""
    best = json.loads((folder / "result.json").read_text())["best_epoch"]
    for path in folder.glob("save/CKPT+*/CKPT.yaml"):
        if f"epoch: {best}\n" in path.read_text():
            return path.parent


def set_score(path, value):
    """Write another validation SI-SDR into a checkpoint's meta."""
    meta = yaml.safe_load(path.read_text())
    assert "si_sdr" in meta
    path.write_text(yaml.safe_dump(meta | {"si_sdr": value}))


def replace_weights(folder, weights):
    """Give the best checkpoint other weights, with their checksum."""
    path = best_checkpoint(folder)
    torch.save(weights, path / "separator.ckpt")
    content = (path / "separator.ckpt").read_bytes()
    checksums = json.loads((path / "checksums.json").read_text())
    checksums["separator.ckpt"] = hashlib.blake2b(content).hexdigest()
    (path / "checksums.json").write_text(json.dumps(checksums))


def flip_a_byte(folder):
    """Damage the best checkpoint's weights."""
    path = best_checkpoint(folder) / "separator.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def undefine(folder, others=False):
    """Make validation scores NaN: all, or those of the others."""
    for path in folder.glob("save/*/CKPT.yaml"):
        if not others or path.parent != best_checkpoint(folder):
            set_score(path, float("nan"))


def write(name, text):
    """Make a damage: a file with another content."""
    return lambda folder: (folder / name).write_text(text)


def other_network(folder):
    """Change the network that the weights belong to."""
    path = folder / "separator.json"
    path.write_text(path.read_text().replace('"B": 32', '"B": 16'))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (flip_a_byte, "is damaged .separator.ckpt is damaged"),
        (
            lambda folder: (best_checkpoint(folder) / "CKPT.yaml").write_text(
                "\0"
            ),
            "CKPT.yaml: is damaged",
        ),
        (undefine, "no checkpoint has a finite si_sdr"),
        (
            partial(replace_weights, weights=[torch.zeros(1)]),
            "separator.ckpt: are weights of another network",
        ),
        (
            partial(replace_weights, weights={"encoder": 1.0}),
            "are weights of another network",
        ),
        (
            lambda folder: (
                best_checkpoint(folder) / "separator.ckpt"
            ).unlink(),
            "separator.ckpt is missing",
        ),
        (lambda folder: shutil.rmtree(folder / "save"), "no epoch was fin"),
        (lambda f: (f / "settings.json").unlink(), "has no settings.json"),
        (lambda f: (f / "separator.json").unlink(), "if an earlier version"),
        (
            write("settings.json", '{"seed": 1}'),
            "settings.json: is damaged .*exp",
        ),
        (other_network, "weights of another network"),
    ],
)
def test_what_is_wrong_with_a_run_is_named(damage, named, copied_run):
    damage(copied_run)
    before = contents(copied_run)
    with pytest.raises(UserError, match=named):
        load_trained_run(copied_run)
    assert contents(copied_run) == before


def test_undefined_checkpoints_are_not_the_best(copied_run):
    undefine(copied_run, others=True)
    best = json.loads((copied_run / "result.json").read_text())["best_epoch"]
    assert load_trained_run(copied_run).checkpoint["epoch"] == best


def test_a_pickle_is_not_executed(copied_run, tmp_path):
    replace_weights(copied_run, {"a": Malice(tmp_path / "stolen")})
    with pytest.raises(UserError, match="is not a file of weights"):
        load_trained_run(copied_run)
    assert not (tmp_path / "stolen").exists()


def test_a_run_without_averaged_weights(copied_run):
    with pytest.raises(UserError, match="without --ema_decay"):
        load_trained_run(copied_run, averaged=True)


@pytest.mark.parametrize("model", SMALL)
def test_our_loader_gives_the_same_estimates(model, exported, trained_runs):
    run = load_trained_run(trained_runs(model))
    loaded = load_model(exported(model))
    ours, expected = estimates_of(loaded.separator), estimates_of(run.separator)
    assert all(torch.equal(*pair) for pair in zip(ours, expected, strict=True))
    assert not loaded.separator.training
    assert loaded.checkpoint == run.checkpoint
    assert loaded.settings["sample_rate"] == 8000


def test_nothing_of_the_folder_is_run(copied, tmp_path):
    stolen = tmp_path / "stolen"
    malice = f"__x: !apply:os.mkdir [{stolen}]\n"
    hparams = copied / "hyperparams.yaml"
    hparams.write_text(malice + hparams.read_text())
    (copied / "custom_interface.py").write_text(
        f"import os; os.mkdir({str(stolen)!r})"
    )
    (copied / "encoder.ckpt").write_bytes(saved(Malice(stolen)))
    load_model(copied)
    assert not stolen.exists()
    # The same file makes SpeechBrain run it.
    with pytest.raises(pickle.UnpicklingError):
        SepformerSeparation.from_hparams(source=str(copied))
    assert stolen.exists()


def test_pickles_are_no_weights(copied, tmp_path):
    stolen = tmp_path / "stolen"
    weights = copied / "separator.safetensors"
    for content in (pickle.dumps(Malice(stolen)), saved(Malice(stolen))):
        weights.write_bytes(content)
        description = json.loads((copied / "model.json").read_text())
        description["weights"] = hash_file(weights, "blake2b")
        (copied / "model.json").write_text(json.dumps(description))
        with pytest.raises(UserError, match="cannot be read"):
            load_model(copied)
        assert not stolen.exists()
    pickle.loads(pickle.dumps(Malice(stolen)))  # what they would have done
    assert stolen.exists()


def test_code_in_the_network_is_refused(copied):
    path = copied / "separator.json"
    ours = "polsess.models.convtasnet.MaskNet"
    path.write_text(path.read_text().replace(ours, "os.mkdir"))
    with pytest.raises(UserError, match=r"tor\.json.*os\.mkdir is no torch"):
        load_model(copied)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("separator.safetensors", "torn", "is not the one that was exported"),
        ("separator.json", "[" * 100_000, "separator.json: is damaged"),
        ("model.json", '{"checkpoint": 3, "weights": ""}', "checkpoint is 3"),
        ("settings.json", "{}", "its experiment_name is None"),
    ],
)
def test_damaged_models_are_named(name, content, named, copied):
    (copied / name).write_text(content)
    with pytest.raises(UserError, match=named):
        load_model(copied)


def test_other_folders_are_no_models(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "hyperparams.yaml").write_text("modules: {}")
    with pytest.raises(UserError, match="add --trust"):
        load_model(tmp_path)


def test_other_weights_than_were_exported(copied):
    with pytest.raises(UserError, match="was exported without --averaged"):
        load_model(copied, averaged=True)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_sources", [2, 3])
def test_estimates_are_speechbrains(family, n_sources, tmp_path):
    folder = write_speechbrain_model(
        tmp_path / "model",
        family,
        lambda text: text.replace(
            "num_spks: 2", f"num_spks: {n_sources}"
        ).replace("num_spk: 2", f"num_spk: {n_sources}"),
    )
    before = sorted(folder.iterdir())
    options = {"device": "cpu", "precision": "fp32"}
    ours = SpeechSeparation.from_hparams(folder, options, trust=True)
    assert sorted(folder.iterdir()) == before
    theirs = SepformerSeparation.from_hparams(source=str(folder))
    # Whole frames, with samples beyond them, and several mixtures.
    lengths = ((1, 4000), (2, 4005), (1, 8011), (3, 401))
    estimates = estimates_of(ours.separate_batch, lengths)
    wanted = estimates_of(theirs.separate_batch, lengths)
    for found, expected in zip(estimates, wanted, strict=True):
        assert found.shape == expected.shape
        error = (found - expected).abs().max() / expected.abs().max()
        assert error < 1e-5
    assert ours.hparams.sample_rate == 8000
    assert ours.hparams.n_sources == n_sources


def test_recordings_are_separated(tmp_path, capsys):
    write_speechbrain_model(tmp_path / "model", "sepformer")
    soundfile.write("a.wav", noise(12_000), 16000)
    arguments = ["model", "a.wav", "--output", "out", "--device", "cpu"]
    with pytest.raises(UserError, match="add --trust"):
        separate.main(arguments)
    arguments.append("--trust")
    separate.main(arguments)
    estimates = [
        soundfile.read(f"out/a_estimate{number}.wav") for number in (1, 2)
    ]
    assert [(len(e), rate) for e, rate in estimates] == [(12_000, 16000)] * 2
    record = json.loads((tmp_path / "out/a.json").read_text())
    assert record["model"] == "model"
    assert record["checkpoint"]["epoch"] is None
    # What other weights have separated is not taken for theirs.
    weights = torch.load("model/encoder.ckpt")
    torch.save({k: -v for k, v in weights.items()}, "model/encoder.ckpt")
    separate.main(arguments)
    assert "anew: weights changed" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["yaml", "interface", "pickle"])
def test_nothing_is_run_without_trust(change, tmp_path):
    folder = write_speechbrain_model(tmp_path / "model", "sepformer")
    if change == "yaml":
        path = folder / "hyperparams.yaml"
        path.write_text(f"__x: !apply:os.mkdir [stolen]\n{path.read_text()}")
    elif change == "interface":
        (folder / "custom_interface.py").write_text("import os; os.mkdir('x')")
    else:
        torch.save(Malice(tmp_path / "stolen"), folder / "masknet.ckpt")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="trust"):
        load_model(folder)
    assert sorted(tmp_path.rglob("*")) == before
    if change == "yaml":
        load_model(folder, trust=True)
        assert (tmp_path / "stolen").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_spks: 2", "num_spks: !ref <num_spks>"),
        ("sample_rate: 8000", ""),
        ("d_ffn: 64", "d_ffn: 32"),
    ],
)
def test_what_speechbrain_cannot_load_is_one_line(old, new, tmp_path):
    folder = write_speechbrain_model(tmp_path / "model", "sepformer")
    path = folder / "hyperparams.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match="cannot load it") as error:
        load_model(folder, trust=True)
    assert "\n" not in str(error.value)
