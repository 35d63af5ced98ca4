"""Word error rates with intervals, and their tables."""

import numpy as np
import pandas as pd
import pytest
from asr.rates import format_summary, summarise


def counts_of(**errors):
    """Make the counts of mixtures of four words, the same for all rates."""
    tables = []
    for audio, of_mixtures in errors.items():
        table = pd.DataFrame({"ID": [f"m{i}" for i in range(len(of_mixtures))]})
        table = table.assign(variant="C", audio=audio, failed=0)
        for rate in ("wer", "cer", "cpwer", "orcwer"):
            table[f"{rate}_errors"], table[f"{rate}_length"] = of_mixtures, 4
        tables.append(table)
    return pd.concat(tables)


def test_rates_and_intervals():
    generator = np.random.default_rng(0)
    nothing = np.zeros(400, int)
    counts = counts_of(separated=nothing, mixture=nothing)
    lengths = generator.integers(5, 12, size=400)
    errors = generator.binomial(lengths, 0.3)
    heard = counts["audio"] == "mixture"
    counts.loc[heard, ["wer_errors", "wer_length"]] = np.c_[errors, lengths]
    table = summarise(counts, 2000, 0).set_index("audio")
    row = table.loc["mixture"]
    assert row["wer"] == errors.sum() / lengths.sum()
    # The ratio estimator's standard error, by linearisation.
    residuals = errors - row["wer"] * lengths
    deviation = residuals.std() / np.sqrt(400) / lengths.mean()
    assert row["wer_low"] == pytest.approx(
        row["wer"] - 1.96 * deviation, abs=0.002
    )
    assert row["wer_high"] == pytest.approx(
        row["wer"] + 1.96 * deviation, abs=0.002
    )
    assert row["recordings"] == 400
    change = table.loc["separated - mixture"]
    assert change["wer"] == -row["wer"]
    assert change["wer_low"] == -row["wer_high"]


def test_changes_are_of_the_same_mixtures():
    generator = np.random.default_rng(0)
    mixture = generator.integers(1, 5, size=100)
    table = summarise(counts_of(separated=mixture - 1, mixture=mixture), 100, 0)
    change = table.set_index("audio").loc["separated - mixture"]
    # However much the mixtures differ, each has one error of four less.
    for name in ("wer", "wer_low", "wer_high", "cpwer_low", "orcwer_high"):
        assert change[name] == pytest.approx(-0.25)


def test_tables():
    counts = counts_of(separated=[0, 0], mixture=[1, 0])
    text = format_summary(summarise(counts, 100, 0))
    assert "| C | mixture | 2 | 12.5 (0.0 to 25.0) |" in text
    assert "| C | separated - mixture | 2 | -12.5 (-25.0 to +0.0) |" in text
    # Nothing said has no rate.
    counts["wer_length"] = 0
    text = format_summary(summarise(counts, 100, 0))
    assert "| C | mixture | 2 | – | 12.5" in text
    assert "| C | separated - mixture | 2 | – | -12.5" in text
