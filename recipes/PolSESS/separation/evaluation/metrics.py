"""The metrics of an evaluation: their names, and all of them for a mixture."""

import importlib.util
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import numpy as np
from prepare_polsess import UserError
from scores import DIVERGED

from evaluation.speech_metrics import dnsmos, estoi, pesq, sdr, stoi


class Metric(NamedTuple):
    """How a metric is shown and what computes it.

    Arguments
    ---------
    title : str
        In tables.
    decimals : int
        In tables.
    compute : callable, None
        Signal [time], source [time] and sample rate (Hz) -> score; higher is
        better. None for SI-SDR, which is computed where the separator is.
    packages : tuple of str
        What must be importable for it.
    needs_source : bool
        Whether it compares with the source.
    """

    title: str
    decimals: int
    compute: Callable | None
    packages: tuple = ()
    needs_source: bool = True


METRICS = {
    "si_sdr": Metric("SI-SDR dB", 2, None),
    "sdr": Metric("SDR dB", 2, sdr, ("fast_bss_eval",)),
    "pesq": Metric("PESQ", 2, pesq, ("pesq",)),
    "stoi": Metric("STOI", 3, stoi, ("pystoi",)),
    "estoi": Metric("ESTOI", 3, estoi, ("pystoi",)),
    "dnsmos": Metric(
        "DNSMOS",
        2,
        dnsmos,
        ("speechmos", "onnxruntime", "librosa", "requests"),
        needs_source=False,
    ),
}


def check_metrics(metrics: list[str]) -> None:
    """Check that all metrics exist and can be computed here.

    Arguments
    ---------
    metrics : list of str
        Names.

    Raises
    ------
    UserError
        Naming an unknown metric, or what has to be installed.

    Example
    -------
    >>> check_metrics(["si_sdr", "stoi"])
    """
    for name in metrics:
        if name not in METRICS:
            raise UserError(
                f"--metrics {name}: choose from {', '.join(METRICS)}"
            )
        for package in METRICS[name].packages:
            if importlib.util.find_spec(package) is None:
                raise UserError(
                    f"--metrics {name}: needs the package {package}; in "
                    "recipes/PolSESS `pip install -r extra_requirements.txt`"
                )


def metric_versions(name: str) -> dict:
    """List what a metric's values depend on.

    Arguments
    ---------
    name : str
        One of ``METRICS``.

    Returns
    -------
    dict
        Package -> version; None if it is not installed.

    Example
    -------
    >>> list(metric_versions("estoi"))
    ['pystoi']
    """
    return {package: _version(package) for package in METRICS[name].packages}


@cache
def _version(package):
    """Look up a package's version; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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
    reasons, scores, unprocessed = [], [], []

    def score(signal, source):
        value, reason = _score(metric, signal, source, sample_rate)
        reasons.extend([reason] if reason else [])
        return value

    for number, source in enumerate(sources, start=1):
        if metric.needs_source and np.ptp(source) == 0:
            reasons.append(f"source {number} is silent")
            scores.append(float("nan"))
            unprocessed.append(float("nan"))
            continue
        scores.append(score(estimates[number - 1], source))
        if unprocessed and not metric.needs_source:
            unprocessed.append(unprocessed[0])
        else:
            unprocessed.append(score(mixture, source))
    return scores, unprocessed, "; ".join(dict.fromkeys(reasons))


def _score(metric, signal, source, sample_rate):
    """Compute a score, or NaN and why there is none."""
    if not np.isfinite(signal).all():
        return float("nan"), DIVERGED
    try:
        value = metric.compute(signal, source, sample_rate)
    except Exception as error:  # whatever a metric's library raises
        return float("nan"), _describe(error)
    if not np.isfinite(value):
        return float("nan"), f"the value is {value}"
    return value, ""


def _describe(error):
    """Say in one line what a library's exception says."""
    message = error.args[0] if error.args else type(error).__name__
    if isinstance(message, bytes):  # as those of pesq
        message = message.decode(errors="replace")
    # What pystoi then says it returns, it does not.
    message = str(message).partition(". Returning")[0]
    return " ".join(message.split())[:200]
