"""Separating the mixtures of a test set."""

from types import SimpleNamespace

import pytest
import torch
from polsess.errors import UserError
from polsess.scoring.evaluation import Evaluation


class Failing(torch.nn.Module):
    """A separator that fails in one way or another."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, mixture):
        """Fail."""
        return self.function(mixture)


def separate(function):
    """Separate two mixtures on the CPU."""
    run = SimpleNamespace(
        separator=Failing(function), settings={"sample_rate": 8000}
    )
    test_set = SimpleNamespace(dataset=None, formats={})
    evaluation = Evaluation(run, test_set, None, "cpu", "fp32")
    return evaluation.separate(torch.zeros(2, 400))


def run_out_of_gpu_memory(mixture):
    """Fail as torch does on a GPU."""
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    "function",
    [run_out_of_gpu_memory, lambda mixture: torch.empty(10**17)],
    ids=["gpu", "cpu"],
)
def test_too_little_memory_is_told(function):
    with pytest.raises(UserError, match="2 mixtures of 400 .* smaller --batch"):
        separate(function)


def test_other_failures_are_not_taken_for_it():
    with pytest.raises(RuntimeError, match="shape"):
        separate(lambda mixture: mixture.reshape(3, 7))
