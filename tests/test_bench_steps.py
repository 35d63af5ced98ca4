"""The benchmarks of training steps: the same networks, honest plans."""

from argparse import Namespace

import pandas as pd
import pytest
import scaling
import torch
import train_step
from networks import build, make_mixtures, with_stock_blocks


@pytest.mark.parametrize("model", ["convtasnet", "dprnn", "sepformer"])
def test_stock_blocks_are_speechbrains_and_give_the_same(model):
    ours = build(model, small=True)
    stock = with_stock_blocks(ours)
    for module in stock.modules():
        if type(module).__name__ in ("MaskNet", "TransformerBlock"):
            assert type(module).__module__.startswith("speechbrain.")
    mixtures = make_mixtures(2, 0.5)
    with torch.no_grad():
        torch.testing.assert_close(ours(mixtures), stock(mixtures))


@pytest.mark.parametrize("who", ["ours", "stock"])
def test_a_step_is_measured(who, monkeypatch):
    options = Namespace(
        models=["convtasnet"],
        small=True,
        settings=[],
        compile=None,
        batch_size=2,
        duration=0.1,
    )
    found = train_step.measure(who, options)
    # A step has a separation in it, and its backward pass.
    assert 0 < found["inference"] < found["step"]
    (_, stock), (_, ours) = train_step.errors(options)
    assert max(stock, ours) < 1e-5


def test_a_size_is_an_option_of_the_yaml_file():
    sizes = ["--transformer_layers", "3", "--dual_path_blocks", "1"]
    network = build("sepformer", False, sizes)
    blocks = [
        module
        for module in network.modules()
        if type(module).__name__ == "TransformerBlock"
    ]
    assert {len(block.mdl.layers) for block in blocks} == {3}


ROWS = [
    {**dict(zip(scaling.COLUMNS, cell, strict=True)), "time": 2, "memory": 3}
    for cell in (
        ("spmamba", "inference", 2, 1, 4.0),
        ("dprnn", "step", 2, 1, 4.0),
        ("dprnn", "step", 2, 2, 4.0),
    )
]


def test_what_costs_too_much_is_told_by_what_was_measured():
    # The last row: two mixtures of 4 s took 2 s and 3 GB; each cell runs twice.
    cell = ("dprnn", "step", 1, 1, 60.0)
    assert scaling.expect(cell, ROWS) == (2 * 2 * 60 / 8, 3 * 60 / 8)
    assert scaling.expect(("dprnn", "inference", 1, 1, 60.0), ROWS) == (0, 0)


def test_the_table_and_the_drawing(tmp_path, capsys):
    table = pd.DataFrame(ROWS)
    scaling.print_table(table)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "| DPRNN | step | 2 | 2 | 4 | 2 | 0.25 | 3 |"
    scaling.draw(table, tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()
