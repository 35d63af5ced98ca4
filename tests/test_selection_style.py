"""What the pictures share: which axes are logarithmic."""

import numpy as np
import pandas as pd
import pytest
from experiments.trial_plots import is_logarithmic


@pytest.mark.parametrize("seed", range(5))
def test_axes_are_as_the_published_spaces_draw(seed):
    generator = np.random.default_rng(seed)
    evenly = generator.uniform(size=60)

    def loguniform(low, high):
        return pd.Series(low * (high / low) ** evenly)

    assert is_logarithmic(loguniform(3e-4, 3e-3))  # lr of stage 1
    assert is_logarithmic(loguniform(1e-6, 1e-4))  # weight_decay
    assert not is_logarithmic(loguniform(7e-4, 2e-3))  # lr of stage 3
    assert not is_logarithmic(pd.Series(0.5 + 19.5 * evenly))  # max_grad_norm
    assert not is_logarithmic(pd.Series(1 + (5 * evenly).astype(int)))
    assert not is_logarithmic(pd.Series(evenly) - 0.1)  # not positive
