"""Small corpora in LibriMix's layout and of CSV files, for tests."""

import numpy as np
import pandas as pd
import soundfile

SETTINGS = {"task": "SB", "n_sources": 2, "sample_rate": 8000}


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


def write_other_corpus(
    root, sizes=(6, 2, 2), speakers=2, noise=True, seconds=0.5
):
    """Write three splits in LibriMix's layout, in 16-bit samples.

    The speakers are tones that a small network tells apart; each mixture has a
    length of its own.
    """
    generator = np.random.default_rng(0)
    for part, size in zip(("train-100", "dev", "test"), sizes, strict=True):
        folder = root / "wav8k/min" / part
        for number in range(size):
            length = round(8000 * seconds) + 16 * number
            clock = np.arange(length) / 8000
            signals, utterances = {}, []
            for speaker in range(1, speakers + 1):
                pitch = 250 * 3 ** (speaker - 1) * generator.uniform(0.9, 1.1)
                level = 2500 * (1.2 + np.sin(9 * speaker * clock + number))
                signals[f"s{speaker}"] = level * np.sin(
                    2 * np.pi * pitch * clock
                )
                name = ["train-100", "dev", "test"].index(part)
                utterances.append(f"{name}{number}{speaker}-1-{number}")
            if noise:
                signals["noise"] = generator.normal(0, 300, length)
            signals = {n: np.round(s).astype(int) for n, s in signals.items()}
            speech = [s for n, s in signals.items() if n != "noise"]
            signals["mix_clean"] = sum(speech)
            if noise:
                signals["mix_both"] = sum(speech) + signals["noise"]
            for name, signal in signals.items():
                path = folder / name / f"{'_'.join(utterances)}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, signal.astype(np.int16), 8000)
    return root


def as_csv(root, folder, mixture="mix_both"):
    """Describe a corpus of ``write_other_corpus`` by CSV files."""
    folder.mkdir()
    names = {"train-100": "train.csv", "dev": "valid.csv", "test": "test.csv"}
    for part, name in names.items():
        split = root / "wav8k/min" / part
        kinds = {mixture: "mix_wav", "noise": "noise_wav"}
        kinds |= {f"s{n}": f"s{n}_wav" for n in (1, 2, 3)}
        columns = {
            column: sorted(map(str, (split / kind).glob("*.wav")))
            for kind, column in kinds.items()
            if (split / kind).is_dir()
        }
        write_table(folder / name, **columns)
    return folder
