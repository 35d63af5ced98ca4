"""Exported models: for SpeechBrain's loaders, for ours, for onnxruntime."""

import io
import json
import os
import pickle
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import export
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import soundfile
import torch
import yaml
from exported_model import load_model
from preparation.hashes import hash_file
from prepare_polsess import UserError
from small_models import SMALL
from speechbrain.inference.interfaces import foreign_class
from speechbrain.inference.separation import SepformerSeparation
from trained_run import load_trained_run

MASKING = ("convtasnet", "dprnn", "sepformer")
# No whole number of frames, one frame more, and several mixtures.
LENGTHS = ((1, 4001), (2, 4008), (1, 8005))


@pytest.fixture(scope="module")
def exported(trained_runs, tmp_path_factory):
    """Export small models as a user does; give the folders."""
    folders = {}

    def export_once(model):
        if model not in folders:
            output = tmp_path_factory.mktemp("exported") / model
            onnx = ["--onnx"] if model in MASKING else []
            export.main([str(trained_runs(model)), str(output), *onnx])
            folders[model] = output
        return folders[model]

    return export_once


@pytest.fixture(autouse=True)
def keep_the_path(monkeypatch):
    """Take away what an exported model puts into Python's path."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def copied(exported, tmp_path):
    """Copy an exported model for a test that changes it."""
    return shutil.copytree(exported("convtasnet"), tmp_path / "model")


def estimates_of(separate, lengths=LENGTHS):
    """Separate noise of several lengths."""
    generator = torch.Generator().manual_seed(0)
    mixtures = [
        torch.randn(n, time, generator=generator) for n, time in lengths
    ]
    with torch.no_grad():
        return [separate(mixture) for mixture in mixtures]


@pytest.mark.parametrize("model", SMALL)
def test_our_loader_gives_the_same_estimates(model, exported, trained_runs):
    run, loaded = (
        load_trained_run(trained_runs(model)),
        load_model(exported(model)),
    )
    ours, expected = estimates_of(loaded.separator), estimates_of(run.separator)
    assert all(torch.equal(*pair) for pair in zip(ours, expected, strict=True))
    assert not loaded.separator.training
    assert loaded.epoch == run.epoch
    assert loaded.valid_si_sdr == run.valid_si_sdr
    assert loaded.settings["sample_rate"] == 8000


@pytest.mark.parametrize("model", SMALL)
def test_speechbrains_loader_gives_the_same_estimates(
    model, exported, trained_runs
):
    folder = str(exported(model))
    if model in MASKING:
        loaded = SepformerSeparation.from_hparams(source=folder)
    else:
        loaded = foreign_class(
            source=folder,
            pymodule_file="custom_interface.py",
            classname="SPMambaSeparation",
        )
    theirs = estimates_of(loaded.separate_batch)
    expected = estimates_of(load_trained_run(trained_runs(model)).separator)
    for found, wanted in zip(theirs, expected, strict=True):
        assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("model", ["sepformer", "spmamba"])
def test_speechbrain_loads_it_anywhere(model, exported, trained_runs, tmp_path):
    """Moved, as links to where a hub keeps files, and with a savedir."""
    moved = shutil.copytree(exported(model), tmp_path / "moved")
    kept = tmp_path / "kept"
    kept.mkdir()
    for number, path in enumerate(sorted(moved.rglob("*"))):
        if path.is_file():
            path.rename(kept / str(number))
            path.symlink_to(kept / str(number))
    load = (
        "from speechbrain.inference.separation import SepformerSeparation\n"
        "model = SepformerSeparation.from_hparams('moved', savedir='links')\n"
        if model in MASKING
        else "from speechbrain.inference.interfaces import foreign_class\n"
        "model = foreign_class('moved', pymodule_file='custom_interface.py',\n"
        "    classname='SPMambaSeparation', savedir='links')\n"
    )
    # Other packages' modules of the same names.
    others = tmp_path / "others"
    others.mkdir()
    for name in ("mamba", "spmamba_blocks"):
        (others / f"{name}.py").write_text("raise ImportError('another')")
    # A process of its own, without this clone's modules.
    code = (
        f"import sys\nsys.path.insert(0, {str(others)!r})\n"
        f"import torch\n{load}"
        "mixtures = torch.load('mixtures.pt')\n"
        "torch.save([model.separate_batch(m) for m in mixtures], 'e.pt')"
    )
    mixtures = []
    separator = load_trained_run(trained_runs(model)).separator
    expected = estimates_of(lambda m: mixtures.append(m) or separator(m))
    torch.save(mixtures, "mixtures.pt")
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    for found, wanted in zip(torch.load("e.pt"), expected, strict=True):
        assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("model", SMALL)
def test_what_the_card_says_works(model, exported, tmp_path):
    folder = exported(model)
    (tmp_path / folder.name).symlink_to(folder)
    (tmp_path / "recipes").symlink_to(Path(export.__file__).parents[2])
    generator = np.random.default_rng(0)
    soundfile.write("recording.wav", generator.uniform(-0.1, 0.1, 8000), 8000)
    card = (folder / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(blocks) == 2 + (model in MASKING)
    for block in blocks:
        said = {}
        exec(block, said)
        assert said["estimates"].shape in ((1, 8000, 2), (1, 32_000, 2))


def test_the_card_is_one_for_hubs(exported, trained_runs, tmp_path):
    arguments = [str(trained_runs("dprnn")), "model", "--licence"]
    for wrong in ("CC BY 4.0", "x\ny: z"):
        with pytest.raises(UserError, match="as hubs call it"):
            export.main([*arguments, wrong])
    export.main([*arguments, "cc-by-4.0"])
    _, front, card = (tmp_path / "model/README.md").read_text().split("---", 2)
    assert yaml.safe_load(front) == {
        "library_name": "speechbrain",
        "pipeline_tag": "audio-to-audio",
        "language": "pl",
        "license": "cc-by-4.0",
        "tags": [
            "speechbrain",
            "audio-source-separation",
            "speech-separation",
            "PolSESS",
        ],
    }
    assert "`PolSESS_small`. Mixtures: 10 train, 4 val, 4 test." in card
    front = (exported("dprnn") / "README.md").read_text().split("---")[1]
    assert "license" not in yaml.safe_load(front)


@pytest.mark.parametrize("model", MASKING)
def test_the_card_tells_from_which_length_on(model, exported, trained_runs):
    card = (exported(model) / "README.md").read_text()
    (shortest,) = map(int, re.findall(r"from (\d+) samples on", card))
    loaded = SepformerSeparation.from_hparams(source=str(exported(model)))
    separator = load_trained_run(trained_runs(model)).separator
    lengths = ((1, shortest), (1, shortest + 1))
    theirs = estimates_of(loaded.separate_batch, lengths)
    expected = estimates_of(separator, lengths)
    for found, wanted in zip(theirs, expected, strict=True):
        assert (found - wanted).abs().max() < 1e-5
    try:
        (shorter,) = estimates_of(loaded.separate_batch, ((1, shortest - 1),))
    except RuntimeError:
        return
    (wanted,) = estimates_of(separator, ((1, shortest - 1),))
    assert (shorter - wanted).abs().max() > 1e-5


@pytest.mark.parametrize("model", MASKING)
def test_onnxruntime_gives_the_same_estimates(model, exported, trained_runs):
    session = onnxruntime.InferenceSession(exported(model) / "separator.onnx")

    def separate(mixture):
        (estimates,) = session.run(None, {"mixture": mixture.numpy()})
        return torch.from_numpy(estimates)

    lengths = (*LENGTHS, (3, 16_003))
    theirs = estimates_of(separate, lengths)
    separator = load_trained_run(trained_runs(model)).separator
    expected = estimates_of(separator, lengths)
    for found, wanted in zip(theirs, expected, strict=True):
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 2e-4 * wanted.abs().max()


def test_spmamba_has_no_onnx(trained_runs, tmp_path):
    arguments = [str(trained_runs("spmamba")), str(tmp_path / "o"), "--onnx"]
    with pytest.raises(UserError, match="SPMamba cannot be exported"):
        export.main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_onnx_without_its_package(trained_runs, tmp_path, monkeypatch):
    monkeypatch.setattr("onnx_export.find_spec", lambda name: None)
    arguments = [str(trained_runs("dprnn")), str(tmp_path / "o"), "--onnx"]
    with pytest.raises(UserError, match="pip install onnx"):
        export.main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_averaged_weights(trained_runs, tmp_path):
    folder = trained_runs("dprnn")
    export.main([str(folder), "averaged", "--averaged"])
    loaded = load_model("averaged", averaged=True)
    expected = load_trained_run(folder, averaged=True)
    assert loaded.averaged
    (ours,) = estimates_of(loaded.separator, [(1, 4000)])
    (wanted,) = estimates_of(expected.separator, [(1, 4000)])
    assert torch.equal(ours, wanted)
    tested = pd.read_csv(folder / "test_averaged.csv")
    mean = tested[tested["variant"] == "SER"]["si_sdr"].mean()
    card = (tmp_path / "averaged/README.md").read_text()
    assert re.search(rf"\| SER \| \d+ \| {mean:.2f} \(", card)


def test_a_run_is_a_model_too(trained_runs):
    assert load_model(trained_runs("dprnn"), averaged=True).averaged
    assert not load_model(trained_runs("dprnn")).averaged


def test_the_card_has_the_scores_of_the_evaluation(trained_runs, tmp_path):
    run = shutil.copytree(trained_runs("convtasnet"), tmp_path / "run")
    model = load_trained_run(run)
    folder = run / "evaluation/test"
    folder.mkdir(parents=True)
    row = {"ID": "a", "variant": "SER", "metric": "pesq", "score": 2.346}
    rows = [row | {"mixture": 1.5, "improvement": 0.846}]
    rows.append(row | {"ID": "b", "score": None, "mixture": 1.5})
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    checkpoint = {"epoch": model.epoch, "valid_si_sdr": model.valid_si_sdr}
    description = folder / "evaluation.json"
    description.write_text(json.dumps({"checkpoint": checkpoint}))
    export.main([str(run), "model", "--licence", "cc-by-4.0"])
    card = (tmp_path / "model/README.md").read_text()
    assert "| variant | mixtures | PESQ |" in card
    assert "| SER | 2 | 2.35 (+0.85) |" in card
    assert "1 could not be computed" in card
    assert "weights: cc-by-4.0." in card
    # Of an older checkpoint, so the training's own test counts.
    checkpoint["epoch"] += 1
    description.write_text(json.dumps({"checkpoint": checkpoint}))
    export.main([str(run), "model", "--force"])
    card = (tmp_path / "model/README.md").read_text()
    assert "PESQ" not in card
    tested = pd.read_csv(run / "test.csv")
    for variant, rows in tested.groupby("variant"):
        mean, gain = rows[["si_sdr", "si_sdr_improvement"]].mean()
        row = f"| {variant} | {len(rows)} | {mean:.2f} ({gain:+.2f}) |"
        assert row in card
    assert "has not stated the weights' licence" in card


def test_nothing_tells_where_it_was_trained(
    exported, trained_runs, small_corpus
):
    for path in exported("spmamba").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(trained_runs("spmamba").parent).encode() not in content
            assert str(small_corpus.parent).encode() not in content


def test_an_interruption_is_one_line(monkeypatch, tmp_path, capsys):
    def interrupt(*_):
        os.kill(os.getpid(), signal.SIGTERM)  # as a scheduler's

    monkeypatch.setattr("trained_run.load_trained_run", interrupt)
    monkeypatch.setattr(sys, "argv", ["export.py", "run", "model"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(export.__file__, run_name="__main__")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 130
    assert capsys.readouterr().err.startswith("Interrupted. ")
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize("place", ["insert", "append"])
def test_nothing_is_run_in_the_folder_either(place, exported, tmp_path):
    """Python looks for modules where it is started, unless told otherwise."""
    folder = shutil.copytree(exported("spmamba"), tmp_path / "model")
    (folder / "spmamba.py").write_text("print('stolen')\n")
    separation = str(Path(export.__file__).parent)
    at = {"insert": f"insert(0, {separation!r})"}
    at["append"] = f"append({separation!r})"
    code = (
        f"import sys\nsys.path.{at[place]}\n"
        "from interface import SpeechSeparation\n"
        "from prepare_polsess import UserError\n"
        "try:\n"
        "    SpeechSeparation.from_hparams('.')\n"
        "    print('loaded')\n"
        "except UserError as error:\n"
        "    print('refused' if 'put that folder first' in str(error) else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        cwd=folder,
        text=True,
    )
    expected = {"insert": "loaded", "append": "refused"}
    assert result.stdout.split() == [expected[place]]


def test_pickles_are_no_weights(copied, tmp_path):
    stolen = tmp_path / "stolen"
    weights = copied / "separator.safetensors"
    for content in (pickle.dumps(Malice(stolen)), saved(Malice(stolen))):
        weights.write_bytes(content)
        description = json.loads((copied / "model.json").read_text())
        description["weights"] = hash_file(weights, "blake2b")
        (copied / "model.json").write_text(json.dumps(description))
        with pytest.raises(UserError, match="holds no tensors"):
            load_model(copied)
        assert not stolen.exists()
    pickle.loads(pickle.dumps(Malice(stolen)))  # what they would have done
    assert stolen.exists()


def test_code_in_the_network_is_refused(copied, tmp_path):
    path = copied / "separator.yaml"
    text = path.read_text().replace("C: 2", "C: !apply:os.mkdir [stolen]")
    path.write_text(text)
    with pytest.raises(UserError, match=r"separator\.yaml.*!apply:os\.mkdir"):
        load_model(copied)
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("separator.safetensors", b"torn", "is not the one that was exported"),
        ("separator.safetensors", None, "separator.safetensors: is missing"),
        ("separator.yaml", None, "separator.yaml: cannot be read"),
        ("model.json", b"{", "model.json: cannot be read"),
        ("model.json", b'{"checkpoint": 3, "weights": ""}', "checkpoint is 3"),
        ("model.json", b'{"checkpoint": {}, "weights": ""}', "has no epoch"),
        ("settings.json", b"{}", "settings.json: has no experiment_name"),
    ],
)
def test_damaged_models_are_named(name, content, named, copied):
    if content is None:
        (copied / name).unlink()
    else:
        (copied / name).write_bytes(content)
    with pytest.raises(UserError, match=named):
        load_model(copied)


def test_other_folders_are_no_models(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "hyperparams.yaml").write_text("modules: {}")
    with pytest.raises(UserError, match="another program"):
        load_model(tmp_path)


def test_other_weights_than_were_exported(copied):
    with pytest.raises(UserError, match="was exported without --averaged"):
        load_model(copied, averaged=True)


def test_existing_folders_are_left_alone(trained_runs, copied, tmp_path):
    run = str(trained_runs("convtasnet"))
    before = (copied / "README.md").stat().st_mtime_ns
    with pytest.raises(UserError, match="--force replaces it"):
        export.main([run, str(copied)])
    assert (copied / "README.md").stat().st_mtime_ns == before
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="is no exported model"):
        export.main([run, str(tmp_path / "mine"), "--force"])
    # What is not of an export is not replaced: a clone's history, for one.
    (copied / ".git").mkdir()
    (copied / ".git/HEAD").touch()
    with pytest.raises(UserError, match=r"holds \.git/HEAD"):
        export.main([run, str(copied), "--force"])
    shutil.rmtree(copied / ".git")
    (copied / "__pycache__").mkdir()
    (tmp_path / "link").symlink_to(copied)
    export.main([run, str(tmp_path / "link"), "--force"])
    # This time without --onnx.
    assert not (copied / "separator.onnx").exists()
    assert (copied / "README.md").stat().st_mtime_ns > before
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model", "mine", "link"}


@pytest.mark.parametrize("place", [".", "exported", ".."])
def test_runs_are_left_alone(place, trained_runs):
    run = trained_runs("convtasnet")
    before = sorted(run.rglob("*"))
    with pytest.raises(UserError, match="outside of the run's"):
        export.main([str(run), str(run / place), "--force"])
    assert sorted(run.rglob("*")) == before


def test_exported_models_are_no_runs(copied):
    with pytest.raises(UserError, match="is exported already"):
        export.main([str(copied), "twice"])


def test_others_may_read_it(exported):
    modes = {path.stat().st_mode for path in exported("dprnn").iterdir()}
    assert len(modes) == 1


def test_a_failed_export_leaves_nothing(
    trained_runs, copied, tmp_path, monkeypatch
):
    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(export, "write_card", fail)
    with pytest.raises(UserError, match="cannot be written.*No space"):
        export.main([str(trained_runs("dprnn")), str(copied), "--force"])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert load_model(copied).settings["experiment_name"] == "convtasnet"
