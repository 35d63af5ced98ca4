"""Runs that are loaded without being changed."""

import hashlib
import json
import os
import shutil

import pandas as pd
import pytest
import torch
import yaml
from polsess.data.dataset import RenderedMixtures, read_manifest
from polsess.data.sampling import all_examples
from polsess.errors import UserError
from polsess.inference.models import load_trained_run
from polsess.scoring.objective import pit_si_sdr
from small_models import SMALL


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
    assert run.epoch == result["best_epoch"]
    assert run.valid_si_sdr == result["best_valid_si_sdr"]
    assert run.parameters == result["parameters"]
    assert contents(folder) == before


def test_nothing_is_seeded(trained_runs):
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        load_trained_run(trained_runs("convtasnet"))
        states.append(torch.get_rng_state())
    assert not torch.equal(*states)


def test_averaged_weights(trained_runs, small_corpus):
    folder = trained_runs("dprnn")
    run = load_trained_run(folder, averaged=True)
    expected = pd.read_csv(folder / "test_averaged.csv")["si_sdr"]
    best = max(
        float(line.split()[1])
        for path in folder.glob("save/*/CKPT.yaml")
        for line in path.read_text().splitlines()
        if line.startswith("averaged_si_sdr")
    )
    assert run.valid_si_sdr == best
    assert run.weights_checksum != load_trained_run(folder).weights_checksum
    # test_averaged.csv is of the epoch in which the others are best.
    assert run.epoch == load_trained_run(folder).epoch
    assert scores(run, small_corpus) == pytest.approx(expected, abs=1e-3)


@pytest.fixture
def copied_run(trained_runs, tmp_path):
    """Copy a run for a test that damages it."""
    return shutil.copytree(trained_runs("convtasnet"), tmp_path / "run")


def best_checkpoint(folder):
    """Find the folder of the best checkpoint."""
    result = json.loads((folder / "result.json").read_text())
    for path in folder.glob("save/CKPT+*"):
        if (
            f"epoch: {result['best_epoch']}\n"
            in (path / "CKPT.yaml").read_text()
        ):
            return path


def remove(name):
    """Make a damage: a file or folder that is missing."""

    def damage(folder):
        for path in list(folder.glob(name)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def flip_a_byte(folder):
    """Damage the best checkpoint's weights."""
    path = best_checkpoint(folder) / "separator.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def tear_meta(folder):
    """Damage the file that tells how good a checkpoint is."""
    (best_checkpoint(folder) / "CKPT.yaml").write_bytes(b"\xff\x00")


def without_time(folder):
    """Take the time from the file that tells how good a checkpoint is."""
    path = best_checkpoint(folder) / "CKPT.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(x for x in lines if not x.startswith("unixtime")))


def only_undefined(folder):
    """Make all validation scores NaN."""
    for path in folder.glob("save/*/CKPT.yaml"):
        set_score(path, float("nan"))


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


def list_of_weights(folder):
    """Replace weights by a list of tensors."""
    replace_weights(folder, [torch.zeros(1)])


def named_by_numbers(folder):
    """Replace the names of weights by numbers."""
    replace_weights(folder, {1: torch.zeros(1)})


def numbers_as_weights(folder):
    """Replace weights by plain numbers."""
    replace_weights(folder, {"encoder": 1.0})


def other_network(folder):
    """Change the network that the weights belong to."""
    path = folder / "separator.json"
    path.write_text(path.read_text().replace('"B": 32', '"B": 16'))


def incomplete_settings(folder):
    """Take a setting away."""
    (folder / "settings.json").write_text('{"experiment_name": "x"}')


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (flip_a_byte, "is corrupt: separator.ckpt is damaged"),
        (tear_meta, "is corrupt: CKPT.yaml is damaged"),
        (without_time, "is corrupt: CKPT.yaml has no number as unixtime"),
        (only_undefined, "no checkpoint has a validation SI-SDR"),
        (list_of_weights, "separator.ckpt: is not a file of weights"),
        (named_by_numbers, "is not a file of weights .1 is no name"),
        (numbers_as_weights, "is not a file of weights .'encoder' is no"),
        (remove("save/*/separator.ckpt"), "separator.ckpt is missing"),
        (remove("save"), "has no checkpoint of a finished epoch"),
        (remove("settings.json"), "has no settings.json"),
        (remove("separator.json"), "was made by an earlier version"),
        (incomplete_settings, "settings.json: has no seed"),
        (other_network, "weights of another network"),
    ],
)
def test_what_is_wrong_is_named(damage, named, copied_run):
    damage(copied_run)
    before = contents(copied_run)
    with pytest.raises(UserError, match=named):
        load_trained_run(copied_run)
    assert contents(copied_run) == before


def test_undefined_checkpoints_are_not_the_best(copied_run):
    others = [
        path
        for path in copied_run.glob("save/*/CKPT.yaml")
        if path.parent != best_checkpoint(copied_run)
    ]
    assert others
    for path in others:
        set_score(path, float("nan"))
    best = json.loads((copied_run / "result.json").read_text())["best_epoch"]
    assert load_trained_run(copied_run).epoch == best


def test_a_pickle_is_not_executed(copied_run, tmp_path):
    class Malice:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "stolen"),)

    replace_weights(copied_run, {"a": Malice()})
    with pytest.raises(UserError, match="is not a file of weights"):
        load_trained_run(copied_run)
    assert not (tmp_path / "stolen").exists()


def test_a_run_without_averaged_weights(copied_run):
    with pytest.raises(UserError, match="without --ema_decay"):
        load_trained_run(copied_run, averaged=True)
