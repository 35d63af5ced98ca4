"""Metrics of an evaluation, by their libraries, and their averages."""

import math
from functools import cache, lru_cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torchaudio
from numpy.lib.stride_tricks import sliding_window_view

from polsess.errors import UserError, one_line
from polsess.scoring.scores import NOT_FINITE

FILTER_TAPS = 512  # of the distortion filter that SDR allows
BOUND = 100.0  # dB, of SDR, as SI-SDR has it
WIDE_BAND = 16000  # Hz, of PESQ's wide band and of DNSMOS
NARROW_BAND = 8000  # Hz
# P.862 is meant for 8 to 30 s, and the C code of pesq 0.0.4 overruns its buffer
# from about fifty utterances on.
LONGEST = 60  # s
DNSMOS_PACKAGES = ("speechmos", "onnxruntime", "librosa", "requests")


def sdr(signal: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Compute the SDR of BSS Eval, version 3, in dB, at most 100.

    Arguments
    ---------
    signal : numpy.ndarray
        Estimate or mixture, of shape [time].
    source : numpy.ndarray
        Not silent, of the same shape.
    sample_rate : int
        In Hz; makes no difference.

    Example
    -------
    >>> source = np.random.default_rng(0).standard_normal(8000)
    >>> sdr(np.convolve(source, [0.5, 0.3])[:8000], source, 8000) > 30
    True
    """
    from fast_bss_eval import sdr_loss

    # Pairwise, since the other way fast_bss_eval 0.1.4 fails with numpy 2.
    loss = sdr_loss(
        signal[np.newaxis].astype(np.float64),
        source[np.newaxis].astype(np.float64),
        filter_length=FILTER_TAPS,
        clamp_db=BOUND,
        pairwise=True,
    )
    return -loss.item()


def pesq(signal: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Compute PESQ (MOS-LQO, about 1 to 4.6).

    Narrow band at 8 kHz; wide band at every other rate, resampled to 16 kHz.

    Raises
    ------
    pesq.PesqError, ValueError
        E.g. if it finds no utterance in the source, or the signal is silent.
    """
    import pesq

    if np.ptp(signal) == 0:
        raise ValueError("the signal is silent")
    if len(signal) > LONGEST * sample_rate:
        raise ValueError(f"the signal is longer than PESQ's {LONGEST} s")
    if sample_rate == NARROW_BAND:
        return float(pesq.pesq(sample_rate, source, signal, "nb"))
    source = resample(source, sample_rate, WIDE_BAND)
    signal = resample(signal, sample_rate, WIDE_BAND)
    return float(pesq.pesq(WIDE_BAND, source, signal, "wb"))


def stoi(
    signal: np.ndarray,
    source: np.ndarray,
    sample_rate: int,
    extended: bool = False,
) -> float:
    """Compute STOI or, if ``extended``, ESTOI; at most 1.

    The formulas are pystoi's, over all segments at once; what both metrics
    need is computed once.

    Raises
    ------
    ValueError
        If there is less than about 0.4 s of speech in the source.
    """
    from pystoi.stoi import BETA
    from pystoi.utils import EPS

    pair = (np.asarray(x, np.float64).tobytes() for x in (source, signal))
    bands = _third_octaves(*pair, sample_rate)
    count = len(bands[0])
    if extended:
        # pystoi's noise, by which constant bands have a norm
        size = 2 * bands.size
        noise = EPS * _noise(1 << size.bit_length())[:size]
        noise = noise.reshape(2, 2, *bands.shape[1:])
        for step, axis in enumerate((-1, -2)):  # over time, then over bands
            bands = _normalise(bands + noise[:, step], axis)
        return float(np.prod(bands, axis=0).sum() / bands.shape[-1] / count)
    source, signal = bands
    norms = np.linalg.norm(bands, axis=-1, keepdims=True)
    signal = signal * norms[0] / (norms[1] + EPS)
    signal = np.minimum(signal, source * (1 + 10 ** (-BETA / 20)))
    products = _normalise(source, -1, EPS) * _normalise(signal, -1, EPS)
    return float(products.sum() / bands.shape[-2] / count)


@lru_cache(maxsize=8)
def _third_octaves(source, signal, sample_rate):
    """Compute magnitudes in third octaves: [2, segments, bands, frames]."""
    from pystoi import utils
    from pystoi.stoi import DYN_RANGE, FS, N_FRAME, NFFT, OBM, N

    pair = [np.frombuffer(samples) for samples in (source, signal)]
    if len(pair[0]) * FS <= N_FRAME * sample_rate:
        raise ValueError("the signal is shorter than a frame of STOI")
    if sample_rate != FS:
        pair = [utils.resample_oct(x, FS, sample_rate) for x in pair]
    hop = N_FRAME // 2
    spoken = utils.remove_silent_frames(*pair, DYN_RANGE, N_FRAME, hop)
    frames = sliding_window_view(spoken, N_FRAME, axis=1)[:, :-1:hop]
    spectra = np.fft.rfft(frames * np.hanning(N_FRAME + 2)[1:-1], NFFT)
    bands = np.sqrt(np.abs(spectra) ** 2 @ OBM.T)
    if bands.shape[1] < N:
        raise ValueError("Not enough STFT frames after removing silent ones")
    return sliding_window_view(bands, N, axis=1)


@lru_cache(maxsize=2)
def _noise(size):
    """Draw what pystoi draws after ``np.random.seed(0)``."""
    return np.random.RandomState(0).standard_normal(size)


def _normalise(bands, axis, least=0.0):
    """Subtract the mean along an axis, and divide by the norm."""
    bands = bands - bands.mean(axis=axis, keepdims=True)
    return bands / (np.linalg.norm(bands, axis=axis, keepdims=True) + least)


def dnsmos(signal: np.ndarray, source: object, sample_rate: int) -> float:
    """Compute DNSMOS P.835, overall quality (1 to 5), without the source."""
    signal = resample(signal, sample_rate, WIDE_BAND)
    # It refuses samples beyond full scale.
    signal = signal / max(1.0, np.abs(signal).max())
    return float(_dnsmos_networks()(signal, WIDE_BAND, False)["ovrl_mos"])


@cache
def _dnsmos_networks():
    """Load DNSMOS's networks, for one thread."""
    import onnxruntime
    from speechmos import dnsmos

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    folder = Path(dnsmos.__file__).parent / "dnsmos_models"
    # Its own constructor would start as many threads as there are cores.
    networks = dnsmos.DNSMOS.__new__(dnsmos.DNSMOS)
    networks.onnx_sess, networks.p808_onnx_sess = (
        onnxruntime.InferenceSession(folder / name, options)
        for name in ("sig_bak_ovr.onnx", "model_v8.onnx")
    )
    return networks


def resample(signal: np.ndarray, sample_rate: int, new_rate: int) -> np.ndarray:
    """Resample a signal [..., time] in FP32; the same if the rates are.

    Example
    -------
    >>> resample(np.zeros(400, dtype=np.float32), 8000, 16000).shape
    (800,)
    """
    if sample_rate == new_rate:
        return signal
    tensor = torch.from_numpy(np.asarray(signal, dtype=np.float32))
    return torchaudio.functional.resample(tensor, sample_rate, new_rate).numpy()


class Metric(NamedTuple):
    """Computation and format of a metric; higher is better for all.

    Arguments
    ---------
    title : str
        In tables.
    decimals : int
        In tables.
    compute : callable, None
        Signal [time], source [time] and sample rate (Hz) -> score. None for
        SI-SDR, which is computed where the separator is.
    packages : tuple of str
        Packages that it needs.
    needs_source : bool
        Whether it compares with the source.
    """

    title: str
    decimals: int
    compute: Any
    packages: tuple = ()
    needs_source: bool = True


METRICS = {
    "si_sdr": Metric("SI-SDR dB", 2, None),
    "sdr": Metric("SDR dB", 2, sdr, ("fast_bss_eval",)),
    "pesq": Metric("PESQ", 2, pesq, ("pesq",)),
    "stoi": Metric("STOI", 3, stoi, ("pystoi",)),
    "estoi": Metric("ESTOI", 3, partial(stoi, extended=True), ("pystoi",)),
    "dnsmos": Metric("DNSMOS", 2, dnsmos, DNSMOS_PACKAGES, needs_source=False),
}


def check_packages(metrics: list[str]) -> None:
    """Raise a UserError if a metric's package is not installed."""
    for name in metrics:
        for package in METRICS[name].packages:
            if find_spec(package) is None:
                raise UserError(f"--metrics {name}: pip install {package}")


@cache
def metric_versions(name: str) -> dict:
    """Look up the versions of a metric's packages that are installed.

    Example
    -------
    >>> list(metric_versions("estoi"))
    ['pystoi']
    """
    packages = METRICS[name].packages
    return {p: version(p) for p in packages if find_spec(p)}


def compute_metric(
    name: str,
    estimates: np.ndarray,
    sources: np.ndarray,
    mixture: np.ndarray,
    sample_rate: int,
) -> tuple[list[float], list[float], str]:
    """Compute a metric of all estimates, and of the mixture.

    Arguments
    ---------
    name : str
        One of ``METRICS``, but not ``si_sdr``.
    estimates : numpy.ndarray
        In the order of the sources, of shape [n_sources, time].
    sources : numpy.ndarray
        Shape [n_sources, time].
    mixture : numpy.ndarray
        Shape [time].
    sample_rate : int
        In Hz.

    Returns
    -------
    scores : list of float
        Of each source; NaN where there is none.
    unprocessed : list of float
        The mixture's, against each source.
    reason : str
        Why there is a NaN; empty if there is none.

    Example
    -------
    >>> sources = np.random.default_rng(0).standard_normal((1, 8000))
    >>> compute_metric("stoi", sources, sources, sources[0], 8000)
    ([1.0...], [1.0...], '')
    """
    metric = METRICS[name]
    reasons = []

    def score(signal, number):
        source = sources[number]
        if metric.needs_source and np.ptp(source) == 0:
            reason = f"source {number + 1} is silent"
        elif not np.isfinite(signal).all():
            reason = NOT_FINITE
        else:
            try:
                value = metric.compute(signal, source, sample_rate)
                if np.isfinite(value):
                    return value
                reason = f"the value is {value}"
            except Exception as error:  # whatever a metric's library raises
                reason = _describe(error)
        reasons.append(reason)
        return math.nan

    numbers = range(len(sources))
    scores = [score(estimates[number], number) for number in numbers]
    if metric.needs_source:
        unprocessed = [score(mixture, number) for number in numbers]
    else:
        unprocessed = [score(mixture, 0)] * len(sources)
    return scores, unprocessed, "; ".join(dict.fromkeys(reasons))


def _describe(error):
    """Format a library's exception in one line."""
    message = error.args[0] if error.args else type(error).__name__
    if isinstance(message, bytes):  # as those of pesq
        message = message.decode(errors="replace")
    return one_line(str(message))


def summarise_metrics(table: pd.DataFrame) -> pd.DataFrame:
    """Average the rows of ``scores.csv`` by metric and variant.

    Returns
    -------
    pandas.DataFrame
        By metric and variant: mean ``score``, ``improvement`` and ``mixture``,
        ``count`` of mixtures and of those without a value (``undefined``).

    Example
    -------
    >>> row = {"metric": "pesq", "variant": "C", "score": 2.0, "mixture": 1.5}
    >>> summary = summarise_metrics(pd.DataFrame([row | {"improvement": 0.5}]))
    >>> summary.loc["pesq", "C"].tolist()
    [2.0, 0.5, 1.5, 1.0, 0.0]
    """
    # A mixture without a value has no improvement either.
    groups = table.groupby(["metric", "variant"], sort=False)
    summary = groups[["score", "improvement", "mixture"]].mean()
    summary["count"] = groups.size()
    summary["undefined"] = summary["count"] - groups["improvement"].count()
    # By metric first, though the rows are by utterance first.
    return summary.reindex([n for n in METRICS if n in summary.index], level=0)


def format_metrics(summary: pd.DataFrame) -> str:
    """Format the table of ``summarise_metrics`` for the terminal."""
    table = summary.rename({name: m.title for name, m in METRICS.items()})
    table.index.names = [None, None]
    names = summary.index.get_level_values("metric")
    for column in ("score", "improvement", "mixture"):
        table[column] = [
            "-" if math.isnan(value) else f"{value:.{METRICS[name].decimals}f}"
            for name, value in zip(names, summary[column], strict=True)
        ]
    return table.to_string()
