#!/usr/bin/env python3
"""Compares DPRNN's LSTM with the matrix products that it consists of.

> python tools/bench/lstm_limit.py

At the published size, one thread, forward and backward: how many operations a
second oneDNN's LSTM makes, beside those of the processor's matrix product. What
is between them is all that another LSTM for the CPU could gain. The layer and
the product take turns; the fastest of many counts.
"""

import time
from collections.abc import Callable

import torch

SEQUENCES, STEPS, INPUTS, HIDDEN = 80, 100, 64, 128  # 4 s at 8 kHz
ROUNDS = 30


def time_call(function: Callable) -> float:
    """Time a call in s of this process's CPU."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    layer = torch.nn.LSTM(INPUTS, HIDDEN, batch_first=True, bidirectional=True)
    x = torch.randn(SEQUENCES, STEPS, INPUTS, requires_grad=True)
    left, right = torch.randn(2048, 512), torch.randn(512, 1024)
    # Of an LSTM: 4 gates, 2 directions, a product and a sum, and twice as many
    # again for the gradients of inputs and weights.
    gates = 2 * 4 * HIDDEN * (INPUTS + HIDDEN)
    work = {
        "LSTM": 3 * 2 * SEQUENCES * STEPS * gates,
        "matrix product": 2 * 2048 * 512 * 1024,
    }
    calls = {
        "LSTM": lambda: layer(x)[0].sum().backward(),
        "matrix product": lambda: left @ right,
    }
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            best[name] = min(best[name], time_call(call))
    rates = {name: work[name] / best[name] / 1e9 for name in calls}
    for name, rate in rates.items():
        print(f"{name}: {rate:.0f} billion operations a second")
    ratio = rates["matrix product"] / rates["LSTM"]
    print(f"At most {ratio:.2f} times as fast could an LSTM be.")


if __name__ == "__main__":
    main()
