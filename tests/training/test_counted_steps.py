"""What a training step asks of a GPU: one read of a value, no blocking copy."""

import pytest
import torch
from counted_steps import COUNTS, Devices, Kernels, count_step
from measuring import in_new_process


@pytest.mark.parametrize(
    "model", ["convtasnet", "dprnn", "sepformer", "spmamba"]
)
@pytest.mark.parametrize("fp16", [False, True])
def test_a_step_waits_once(model, fp16):
    if model == "spmamba":
        pytest.importorskip("triton")
    counts = in_new_process(count_step, model, fp16)
    print(counts)  # the documentation has them
    assert counts["synchronisations"] == 1
    assert counts["blocking copies"] == 0
    assert counts["operators"] > 300


def test_reads_and_copies_are_counted():
    COUNTS.clear()
    value = torch.ones(2)  # as if on a GPU
    with Devices(), Kernels():
        made = torch.zeros(2).type(torch.float64)
        assert made.tolist() == [0.0, 0.0]
        assert not made[0]
        assert not COUNTS["synchronisations"]
        moved = made.to("cpu")
        assert COUNTS["blocking copies"] == 1
        torch.zeros(2).to("cpu", non_blocking=True)
        torch.tensor([1.0], device="cpu")
        assert (COUNTS["blocking copies"], COUNTS["other copies"]) == (2, 1)
        for number, read in enumerate(
            (
                lambda: float(moved.sum()),
                lambda: bool(value[0]),
                lambda: value.sum().item(),
                value.tolist,
                lambda: value.cpu().sum().item(),
                lambda: value.nonzero(),
            ),
            start=1,
        ):
            read()
            assert COUNTS["synchronisations"] == number
