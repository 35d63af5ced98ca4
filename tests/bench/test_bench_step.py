"""The benchmarks of training steps: the same networks."""

from argparse import Namespace

import bench_step
import pytest
import torch
from measuring import build, in_new_process, make_mixtures, with_stock_blocks
from small_models import SMALL


def small_settings(model):
    """List the options of a small network."""
    return [
        str(part)
        for name, value in SMALL[model].items()
        for part in (f"--{name}", value)
    ]


@pytest.mark.parametrize("model", ["convtasnet", "dprnn", "sepformer"])
def test_stock_blocks_are_speechbrains_and_give_the_same(model):
    ours = build(model, small_settings(model))
    stock = with_stock_blocks(ours)
    for module in stock.modules():
        if type(module).__name__ in ("MaskNet", "TransformerBlock"):
            assert type(module).__module__.startswith("speechbrain.")
    mixtures = make_mixtures(2, 0.5)
    with torch.no_grad():
        torch.testing.assert_close(ours(mixtures), stock(mixtures))


def test_a_step_is_measured_in_a_process_of_its_own():
    settings = small_settings("convtasnet")
    options = Namespace(batch_size=2, duration=0.1, compile=False)
    arguments = "stock", "convtasnet", options, settings
    found = in_new_process(bench_step.measure, *arguments)
    # A step has a separation in it, and its backward pass.
    assert 0 < found[bench_step.SEPARATION] < found[bench_step.STEP]
    assert 0 < found["memory"] < 1
