"""Checkpoints survive what interrupts their saving."""

import os
import subprocess
import sys
import time

import pytest
import torch
from polsess.errors import UserError
from polsess.training.checkpoints import AtomicCheckpointer
from small_models import SEPARATION


class Refusing:
    """Something that cannot be saved."""


def refuse(obj, path):
    """Fail as a full disk does."""
    path.write_text("half")
    raise OSError(28, "No space left on device")


def test_a_failed_save_leaves_the_earlier_checkpoint(tmp_path):
    layer = torch.nn.Linear(2, 2)
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    checkpointer.save_checkpoint(meta={"si_sdr": 1.0})
    saved = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.zero_()
    checkpointer.add_recoverable("bad", Refusing(), custom_save_hook=refuse)
    with pytest.raises(UserError, match="No space left.*earlier ones are inta"):
        checkpointer.save_checkpoint()
    assert len(list(tmp_path.iterdir())) == 1
    again = AtomicCheckpointer(tmp_path, {"layer": layer})
    assert again.recover_if_possible().meta["si_sdr"] == 1.0
    assert torch.equal(layer.weight, saved)


# In a process of its own: the limit holds for what pytest writes, too.
LITTLE_ROOM = """
import resource, sys, torch
from polsess.training.checkpoints import AtomicCheckpointer

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
large = torch.nn.Linear(100, 100)
AtomicCheckpointer(sys.argv[1], {"layer": large}).save_checkpoint()
"""


def test_a_file_that_cannot_be_written_to_its_end(tmp_path):
    small = torch.nn.Linear(10, 10)
    AtomicCheckpointer(tmp_path, {"layer": small}).save_checkpoint()
    process = subprocess.run(
        [sys.executable, "-c", LITTLE_ROOM, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SEPARATION)},
    )
    assert "UserError" in process.stderr
    assert "cannot be saved" in process.stderr
    assert "earlier ones are intact" in process.stderr
    assert len(list(tmp_path.iterdir())) == 1
    again = AtomicCheckpointer(tmp_path, {"layer": small})
    assert again.recover_if_possible() is not None


def test_what_a_killed_save_left_is_not_found_and_removed(tmp_path):
    layer = torch.nn.Linear(2, 2)
    AtomicCheckpointer(tmp_path, {"layer": layer}).save_checkpoint(name="whole")
    torn = tmp_path / "partial-CKPT+later"
    torn.mkdir()
    (torn / "CKPT.yaml").write_text("unixtime: 99999999999\n")
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    assert checkpointer.recover_if_possible().path.name == "CKPT+whole"
    assert torn.exists()  # another process may just be writing it
    checkpointer.save_checkpoint()
    assert not torn.exists()


def test_keeps_the_best_and_the_two_newest(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"l": torch.nn.Linear(1, 1)})
    for si_sdr in (1.0, 3.0, 2.0, 1.5, 1.7):
        checkpointer.save_checkpoint(meta={"si_sdr": si_sdr})
        checkpointer.keep_newest_and_best(["si_sdr"])
    for _ in range(3):
        checkpointer.save_checkpoint(end_of_epoch=False)
        checkpointer.keep_newest_and_best(["si_sdr"])
    kept = [c.meta.get("si_sdr", 0) for c in checkpointer.list_checkpoints()]
    assert sorted(kept) == [0, 0, 1.7, 3.0]


def save_two(folder):
    """Save two checkpoints; return the layer, its first and second weight."""
    layer = torch.nn.Linear(2, 2)
    checkpointer = AtomicCheckpointer(folder, {"layer": layer})
    weights = []
    for number in (1, 2):
        with torch.no_grad():
            layer.weight.fill_(number)
        checkpointer.save_checkpoint(meta={"epoch": number})
        weights.append(layer.weight.detach().clone())
    return layer, weights


def newest(folder):
    """Path of the newest checkpoint."""
    return AtomicCheckpointer(folder, {}).find_checkpoint().path


def truncate(path):
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """Change a byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "name", "message"),
    [
        (truncate, "layer.ckpt", "layer.ckpt is damaged"),
        (flip, "layer.ckpt", "layer.ckpt is damaged"),
        (lambda path: path.unlink(), "layer.ckpt", "layer.ckpt is missing"),
        (lambda path: path.write_text(""), "CKPT.yaml", "CKPT.yaml is damaged"),
        (
            lambda path: path.write_text("}"),
            "CKPT.yaml",
            "CKPT.yaml is damaged",
        ),
        (truncate, "checksums.json", "checksums.json or a file cannot be read"),
        (lambda path: path.unlink(), "checksums.json", "cannot be read"),
    ],
)
def test_a_corrupt_newest_checkpoint_is_named_and_the_one_before_used(
    damage, name, message, tmp_path, caplog
):
    layer, weights = save_two(tmp_path)
    path = newest(tmp_path)
    damage(path / name)
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    assert checkpointer.recover_if_possible().meta["epoch"] == 1
    assert torch.equal(layer.weight, weights[0])
    assert str(path) in caplog.text
    assert message in caplog.text
    # Nothing is lost, and it is not looked at again.
    assert (tmp_path / f"corrupt-{path.name}").is_dir()
    assert len(checkpointer.list_checkpoints()) == 1


def test_a_checkpoint_of_another_model_is_an_error_in_one_line(tmp_path):
    save_two(tmp_path)
    other = AtomicCheckpointer(tmp_path, {"layer": torch.nn.Linear(3, 3)})
    with pytest.raises(UserError, match="of another model.*size mismatch") as e:
        other.recover_if_possible()
    assert "\n" not in str(e.value)


def test_a_killed_deletion_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    layer, _ = save_two(tmp_path)
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    checkpointer.save_checkpoint(meta={"epoch": 3})
    monkeypatch.setattr(checkpointer, "_remove_partial", lambda: None)
    checkpointer.keep_newest_and_best([])
    found = [c.meta["epoch"] for c in checkpointer.list_checkpoints()]
    assert sorted(found) == [2, 3]
    assert len(list(tmp_path.glob("partial-*"))) == 1


def test_the_newest_is_the_last_even_if_the_clock_went_back(
    tmp_path, monkeypatch
):
    checkpointer = AtomicCheckpointer(tmp_path, {"l": torch.nn.Linear(1, 1)})
    checkpointer.save_checkpoint(meta={"epoch": 1})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    checkpointer.save_checkpoint(meta={"epoch": 2})
    assert checkpointer.find_checkpoint().meta["epoch"] == 2
