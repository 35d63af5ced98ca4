"""Metrics of separated speech, each computed by a well-kept library.

SDR: Vincent, Gribonval, Févotte, "Performance measurement in blind audio source
separation", 2006, by fast_bss_eval (Scheibler, "SDR - medium rare with fast
computations", 2022). PESQ: ITU-T P.862 and P.862.2, by pesq. STOI: Taal et al.,
"An algorithm for intelligibility prediction of time-frequency weighted noisy
speech", 2011; ESTOI: Jensen, Taal, 2016; both by pystoi. DNSMOS: Reddy, Gopal,
Cutler, "DNSMOS P.835", 2022, by speechmos. SI-SDR is in ``objective.py``, since
the training needs it too.
"""

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torchaudio

FILTER_TAPS = 512  # that SDR allows a source to be filtered with
BOUND = 100.0  # dB, of SDR, as SI-SDR has it
WIDE_BAND = 16000  # Hz, of PESQ's wide band and of DNSMOS
NARROW_BAND = 8000  # Hz
# P.862 is meant for 8 to 30 s, and the C code of pesq 0.0.4 writes beyond its
# memory from about fifty utterances on.
LONGEST = 60  # s


def sdr(signal: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Compute the SDR of BSS Eval, version 3.

    Arguments
    ---------
    signal : numpy.ndarray
        Estimate or mixture, of shape [time].
    source : numpy.ndarray
        Not silent, of the same shape.
    sample_rate : int
        In Hz; makes no difference.

    Returns
    -------
    float
        In dB, at most 100.

    Example
    -------
    >>> source = np.random.default_rng(0).standard_normal(8000)
    >>> sdr(np.convolve(source, [0.5, 0.3])[:8000], source, 8000) > 30
    True
    """
    from fast_bss_eval import sdr_loss

    # Pairwise, since the other way fast_bss_eval 0.1.4 fails with numpy 2.
    loss = sdr_loss(
        np.asarray(signal, dtype=np.float64)[np.newaxis],
        np.asarray(source, dtype=np.float64)[np.newaxis],
        filter_length=FILTER_TAPS,
        clamp_db=BOUND,
        pairwise=True,
    )
    return -loss.item()


def pesq(signal: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Compute PESQ: narrow band at 8 kHz, wide band at every other rate.

    Arguments
    ---------
    signal, source : numpy.ndarray
        Shape [time].
    sample_rate : int
        In Hz; what is neither at 8 nor at 16 kHz is resampled to 16 kHz.

    Returns
    -------
    float
        MOS-LQO, about 1 to 4.6.

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
    """Compute STOI.

    Arguments
    ---------
    signal, source : numpy.ndarray
        Shape [time].
    sample_rate : int
        In Hz.
    extended : bool
        Whether to compute ESTOI instead.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    ValueError, RuntimeWarning
        If there is less than about 0.4 s of speech in the source; pystoi
        itself only warns, and returns 1e-5.
    """
    from pystoi import stoi
    from pystoi.stoi import FS, N_FRAME

    if len(source) * FS <= N_FRAME * sample_rate:
        raise ValueError("the signal is shorter than a frame of STOI")
    # ESTOI adds tiny noise, which must not depend on what came before.
    state = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            return float(stoi(source, signal, sample_rate, extended=extended))
    finally:
        np.random.set_state(state)


def estoi(signal: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Compute extended STOI; see ``stoi``."""
    return stoi(signal, source, sample_rate, extended=True)


def dnsmos(signal: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Compute DNSMOS P.835, overall quality, without looking at the source.

    Arguments
    ---------
    signal : numpy.ndarray
        Shape [time].
    source : numpy.ndarray
        Makes no difference.
    sample_rate : int
        In Hz; what is not at 16 kHz is resampled.

    Returns
    -------
    float
        Estimated mean opinion score, about 1 to 5.
    """
    signal = resample(signal, sample_rate, WIDE_BAND)
    # It takes nothing beyond full scale.
    signal = signal / max(1.0, np.abs(signal).max())
    return float(_dnsmos_networks()(signal, WIDE_BAND, False)["ovrl_mos"])


@cache
def _dnsmos_networks():
    """Load DNSMOS, to compute with one thread."""
    import onnxruntime
    from speechmos import dnsmos

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    folder = Path(dnsmos.__file__).parent / "dnsmos_models"
    # Its own constructor would start as many threads as there are cores.
    networks = dnsmos.DNSMOS.__new__(dnsmos.DNSMOS)
    for name, file in (
        ("onnx_sess", "sig_bak_ovr.onnx"),
        ("p808_onnx_sess", "model_v8.onnx"),
    ):
        session = onnxruntime.InferenceSession(str(folder / file), options)
        setattr(networks, name, session)
    return networks


def resample(signal: np.ndarray, sample_rate: int, new_rate: int) -> np.ndarray:
    """Resample a signal.

    Arguments
    ---------
    signal : numpy.ndarray
        Shape [time].
    sample_rate, new_rate : int
        In Hz.

    Returns
    -------
    numpy.ndarray
        In FP32; the same if the rates are.

    Example
    -------
    >>> resample(np.zeros(400, dtype=np.float32), 8000, 16000).shape
    (800,)
    """
    if sample_rate == new_rate:
        return signal
    resampled = torchaudio.functional.resample(
        torch.from_numpy(np.asarray(signal, dtype=np.float32)),
        sample_rate,
        new_rate,
    )
    return resampled.numpy()
