"""Small corpora in LibriMix's layout and of CSV files, for tests."""

import numpy as np
import pandas as pd
import soundfile

SETTINGS = {"task": "SB", "sample_rate": 8000}


def write(path, signal, sample_rate=8000):
    """Write a file of 32-bit samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, sample_rate, subtype="FLOAT")


def write_librimix(root, lengths=(4000, 5000), sample_rate=8000, split="test"):
    """Write mixtures in LibriMix's layout; return their signals by name."""
    generator = np.random.default_rng(0)
    signals = {}
    for number, length in enumerate(lengths):
        s1, s2, noise = 0.1 * generator.standard_normal((3, length))
        parts = {
            "s1": s1,
            "s2": s2,
            "mix_clean": s1 + s2,
            "mix_both": s1 + s2 + noise,
            "mix_single": s1 + noise,
        }
        for name, signal in parts.items():
            write(root / split / name / f"u{number}.wav", signal, sample_rate)
        signals[f"u{number}"] = parts
    return signals


def write_table(path, **columns):
    """Write a CSV file."""
    pd.DataFrame(columns).to_csv(path, index=False)
    return path
