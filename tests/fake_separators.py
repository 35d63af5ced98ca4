"""Separators whose estimates are known, for tests of everything around them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
import torch
from polsess.inference.separation import SpeechSeparation
from scipy.signal import correlate


class Halves(torch.nn.Module):
    """Takes what is above zero for one source and the rest for the other."""

    def forward(self, mixture):
        """Mixture [batch, time] -> estimates [batch, time, 2]."""
        return torch.stack([mixture.clamp(min=0), mixture.clamp(max=0)], dim=-1)


class Unreliable(Halves):
    """The same, with a level and sign of its own, in any order at each call."""

    def __init__(self, seed=0):
        super().__init__()
        self.generator = np.random.default_rng(seed)
        sign = self.generator.choice([-1, 1])
        self.scale = float(sign * self.generator.uniform(0.1, 9))
        self.orders = []

    def forward(self, mixture):
        """Mixture [batch, time] -> estimates [batch, time, 2]."""
        order = self.generator.permutation(2).tolist()
        self.orders.append(tuple(order))
        return self.scale * super().forward(mixture)[..., order]


class Bands(torch.nn.Module):
    """Takes what is below 1 kHz for one source and the rest for the other.

    In any order at each call, with other levels and signs, and with a residue
    of the one in the other.
    """

    def __init__(self, seed=0, residue=0.05):
        super().__init__()
        self.generator = np.random.default_rng(seed)
        self.residue = residue

    def forward(self, mixture):
        """Mixture [batch, time] at 8 kHz -> estimates [batch, time, 2]."""
        spectrum = torch.fft.rfft(mixture)
        low = torch.fft.rfftfreq(mixture.shape[-1], 1 / 8000) < 1000
        low = torch.fft.irfft(spectrum * low, mixture.shape[-1])
        high = mixture - low
        estimates = torch.stack(
            [low + self.residue * high, high + self.residue * low], dim=-1
        )
        scale = self.generator.choice([-1, 1]) * self.generator.uniform(0.1, 9)
        return scale * estimates[..., self.generator.permutation(2).tolist()]


class Known(torch.nn.Module):
    """Finds its parts of a recording at 8 kHz in sources that it knows.

    In any order at each call, with a residue of the one in the other.
    """

    def __init__(self, sources, residue=0.1, seed=0):
        super().__init__()
        self.generator = np.random.default_rng(seed)
        self.sources = sources
        self.residue = residue

    def forward(self, mixture):
        """Mixture [1, time] -> estimates [1, time, 2]."""
        samples = mixture[0].numpy()
        whole = self.sources.sum(axis=1)
        place = int(correlate(whole, samples, "valid").argmax())
        found = self.sources[place : place + len(samples)]
        found = found + self.residue * found[:, ::-1]
        order = self.generator.permutation(2)
        return torch.from_numpy(found[:, order]).unsqueeze(0)


def halves(signal):
    """Tell what is to come of ``Halves`` of a signal [time]: [time, 2]."""
    parts = np.stack([np.maximum(signal, 0), np.minimum(signal, 0)], axis=1)
    return parts - parts.sum(axis=0) / max(1, len(parts))


def fake_model(separator, sample_rate=8000):
    """Make a model of a fake separator."""
    model = SpeechSeparation(
        {"separator": separator},
        {"sample_rate": sample_rate, "n_sources": 2},
        {"device": "cpu"},
    )
    model.run = SimpleNamespace(
        settings={
            "experiment_name": "fake",
            "task": "SB",
            "sample_rate": sample_rate,
        },
        folder="fake",
        checkpoint={"epoch": 1, "valid_si_sdr": 1.0, "averaged": False},
        weights_checksum="0a",
    )
    return model


def noise(length, seed=0):
    """Draw a signal without constant part, well below full scale, [time]."""
    signal = 0.1 * np.random.default_rng(seed).standard_normal(length)
    return (signal - signal.sum() / max(1, length)).astype(np.float32)


def write_recording(path, samples, rate=8000):
    """Write a recording in FP32."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")
