"""Checkpoints survive what interrupts their saving."""

import pytest
import torch
from checkpoints import WholeCheckpointer
from prepare_polsess import UserError


class Refusing:
    """Something that cannot be saved."""


def refuse(obj, path):
    """Fail as a full disk does."""
    path.write_text("half")
    raise OSError(28, "No space left on device")


def test_a_failed_save_leaves_the_earlier_checkpoint(tmp_path):
    layer = torch.nn.Linear(2, 2)
    checkpointer = WholeCheckpointer(tmp_path, {"layer": layer})
    checkpointer.save_checkpoint(meta={"si_sdr": 1.0})
    saved = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.zero_()
    checkpointer.add_recoverable("bad", Refusing(), custom_save_hook=refuse)
    with pytest.raises(UserError, match="No space left.*earlier ones are inta"):
        checkpointer.save_checkpoint()
    assert len(list(tmp_path.iterdir())) == 1
    again = WholeCheckpointer(tmp_path, {"layer": layer})
    assert again.recover_if_possible().meta["si_sdr"] == 1.0
    assert torch.equal(layer.weight, saved)


def test_what_a_killed_save_left_is_not_found_and_removed(tmp_path):
    layer = torch.nn.Linear(2, 2)
    WholeCheckpointer(tmp_path, {"layer": layer}).save_checkpoint(name="whole")
    torn = tmp_path / "partial-CKPT+later"
    torn.mkdir()
    (torn / "CKPT.yaml").write_text("unixtime: 99999999999\n")
    checkpointer = WholeCheckpointer(tmp_path, {"layer": layer})
    assert checkpointer.recover_if_possible().path.name == "CKPT+whole"
    assert torn.exists()  # another process may just be writing it
    checkpointer.save_checkpoint()
    assert not torn.exists()


def test_keeps_the_best_and_the_newest(tmp_path):
    checkpointer = WholeCheckpointer(tmp_path, {"l": torch.nn.Linear(1, 1)})
    for si_sdr in (1.0, 3.0, 2.0, 1.5):
        checkpointer.save_and_keep_only(
            meta={"si_sdr": si_sdr}, max_keys=["si_sdr"]
        )
    kept = [c.meta["si_sdr"] for c in checkpointer.list_checkpoints()]
    assert sorted(kept) == [1.5, 3.0]
