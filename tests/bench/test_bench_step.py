"""The benchmarks of training steps: the same networks, honest plans."""

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
    tasks = bench_step.SEPARATION, bench_step.STEP
    settings = small_settings("convtasnet")
    arguments = "stock", "convtasnet", tasks, 2, 0.1, settings, 1
    found = in_new_process(bench_step.measure, *arguments)
    # A step has a separation in it, and its backward pass.
    assert 0 < found[tasks[0]] < found[tasks[1]]
    assert 0 < found["memory"] < 1
    (_, stock), (_, ours) = bench_step.errors("convtasnet", settings)
    assert max(stock, ours) < 1e-5


ROWS = [
    dict(
        zip(("model", "task", "threads", "batch", "seconds"), cell, strict=True)
    )
    | {"time": 2.0, "memory": 3.0}
    for cell in (
        ("spmamba", bench_step.SEPARATION, 2, 1, 4.0),
        ("dprnn", bench_step.STEP, 2, 1, 4.0),
        ("dprnn", bench_step.STEP, 2, 2, 4.0),
    )
]


def test_what_costs_too_much_is_estimated_by_what_was_measured():
    # The last row: two mixtures of 4 s took 2 s and 3 GB; each cell runs twice.
    cell = ("dprnn", bench_step.STEP, 1, 1, 60.0)
    assert bench_step.expect(cell, ROWS) == (2 * 2 * 60 / 8, 3 * 60 / 8)
    other = ("dprnn", bench_step.SEPARATION, 1, 1, 60.0)
    assert bench_step.expect(other, ROWS) == (0, 0)
