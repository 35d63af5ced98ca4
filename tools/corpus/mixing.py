"""What a PolSESS mixture is, as pure functions on arrays of samples.

The rules are those of the published generator: levels by the speech-to-speech
ratio and the scene offset, a hard limiter on every component, the event as
loud as it was recorded.
"""

import numpy as np
from scipy.signal import oaconvolve

from corpus.audio import from_db, rms

LIMIT = 0.999
CLIPPING = 0.9999
SSR_RANGE_DB = (-5, 5)
SCENE_OFFSET_DB = -14.0
SCENE_RANDOM_DB = (0.0, 14.0)

# One step of 16-bit PCM.
STEP = 1.0 / 32768.0

# Less than this is silence: no level can be set by it. About three steps of
# 16-bit PCM, so that dithered digital silence counts too.
SILENCE = from_db(-80.0)


def quantise(waveform: np.ndarray) -> np.ndarray:
    """Rounds to the values that 16-bit PCM has.

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time].

    Returns
    -------
    waveform : numpy.ndarray
        Multiples of 1 / 32768.

    Example
    -------
    >>> (quantise(np.array([0.5, 0.00004, -0.00001])) * 32768).tolist()
    [16384.0, 1.0, -0.0]
    """
    return np.rint(waveform / STEP) * STEP


def limit(waveform: np.ndarray) -> np.ndarray:
    """The hard limiter at +-0.999, rounded to 16-bit PCM.

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time].

    Returns
    -------
    waveform : numpy.ndarray
        The same shape.

    Example
    -------
    >>> limit(np.array([0.25, -3.0])).round(3).tolist()
    [0.25, -0.999]
    """
    return quantise(np.clip(waveform, -LIMIT, LIMIT))


def scale_to_ssr(
    speech1: np.ndarray, speech2: np.ndarray, ssr: float
) -> np.ndarray:
    """Scales speaker 2 to a speech-to-speech ratio.

    Arguments
    ---------
    speech1 : numpy.ndarray
        Speaker 1, shape [time].
    speech2 : numpy.ndarray
        Speaker 2, shape [time], not silent.
    ssr : float
        Wanted ratio of the L2 norms, speaker 1 to speaker 2, dB.

    Returns
    -------
    speech2 : numpy.ndarray
        Scaled, not limited.

    Example
    -------
    >>> loud, soft = np.array([0.5, -0.5]), np.array([0.01, 0.01])
    >>> scale_to_ssr(loud, soft, 20).round(3).tolist()
    [0.05, 0.05]
    """
    wanted = np.sqrt(np.sum(speech1**2)) / from_db(ssr)
    return speech2 * (wanted / np.sqrt(np.sum(speech2**2)))


def scene_gain(
    speech_mix: np.ndarray, scene: np.ndarray, offset: float
) -> float:
    """The factor that sets a scene's level.

    Arguments
    ---------
    speech_mix : numpy.ndarray
        Both speakers, shape [time].
    scene : numpy.ndarray
        As recorded, shape [time], not silent.
    offset : float
        Wanted RMS of the scene relative to the speech mix, dB.

    Returns
    -------
    gain : float
        Linear.

    Example
    -------
    >>> round(scene_gain(np.ones(4), 0.5 * np.ones(4), -20.0), 3)
    0.2
    """
    return rms(speech_mix) * from_db(offset) / rms(scene)


def reverberate(waveform: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Sends a waveform through a room, fully wet.

    Arguments
    ---------
    waveform : numpy.ndarray
        Dry, shape [time].
    response : numpy.ndarray
        Impulse response without the direct path, which would be at lag 0
        with gain 1.

    Returns
    -------
    reverb : numpy.ndarray
        The room's answer, limited, shape [time]: what comes after the end is
        cut.

    Example
    -------
    >>> reverberate(np.array([0.5, 0, 0, 0]), np.array([0, 0, 0.5])).tolist()
    [0.0, 0.0, 0.25, 0.0]
    """
    return limit(oaconvolve(waveform, response)[: len(waveform)])


def mix(
    speech1: np.ndarray,
    speech2: np.ndarray,
    scene: np.ndarray,
    event: np.ndarray,
    ssr: int,
    scene_random: float,
    responses: list[np.ndarray] | None = None,
) -> tuple[dict[str, np.ndarray], float]:
    """Makes one mixture.

    Arguments
    ---------
    speech1, speech2, scene, event : numpy.ndarray
        The two speakers, the acoustic scene and the sound event, as recorded,
        shape [time].
    ssr : int
        Speech-to-speech ratio, dB.
    scene_random : float
        What is added to the scene's offset of -14 dB, dB.
    responses : list of numpy.ndarray or None
        Impulse responses of the room for speaker 1, speaker 2 and the event,
        without the direct path; None outdoors.

    Returns
    -------
    components : dict of numpy.ndarray
        speech1, speech2, scene, event, indoors reverb1, reverb2, reverb_event,
        and mix; all multiples of 1 / 32768. `mix` is the exact sum of
        the others unless the limiter touched the speech.
    gain : float
        Linear factor by which the scene was scaled.

    Example
    -------
    >>> signals = 0.01 * np.random.default_rng(0).standard_normal((4, 100))
    >>> parts, gain = mix(*signals, ssr=3, scene_random=7.0)
    >>> list(parts)
    ['speech1', 'speech2', 'scene', 'event', 'mix']
    >>> total = sum(parts[name] for name in list(parts)[:-1])
    >>> bool(np.all(total == parts["mix"]))
    True
    """
    speech1, event = limit(speech1), limit(event)
    unlimited2 = quantise(scale_to_ssr(speech1, limit(speech2), ssr))
    speech2 = limit(unlimited2)
    speech_mix = limit(speech1 + unlimited2)
    gain = scene_gain(speech_mix, limit(scene), SCENE_OFFSET_DB + scene_random)
    components = {
        "speech1": speech1,
        "speech2": speech2,
        "scene": quantise(limit(scene) * gain),
        "event": event,
    }
    total = speech_mix + components["scene"] + event
    if responses is not None:
        reverbs = _reverbs(speech1, speech2, event, responses)
        components |= reverbs
        total = sum(reverbs.values(), total)
    return components | {"mix": total}, gain


def _reverbs(speech1, speech2, event, responses):
    """What the room answers to each, by the component's name."""
    dry = {"reverb1": speech1, "reverb2": speech2, "reverb_event": event}
    return {
        name: reverberate(waveform, response)
        for (name, waveform), response in zip(
            dry.items(), responses, strict=True
        )
    }


def clips(waveform: np.ndarray) -> bool:
    """Whether a mixture must be drawn again.

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time].

    Returns
    -------
    clips : bool
        True when a sample reaches 0.9999.

    Example
    -------
    >>> clips(np.array([0.1, -0.99991])), clips(np.array([0.1, -0.9998]))
    (True, False)
    """
    return bool(np.max(np.abs(waveform)) >= CLIPPING)


def is_silent(waveform: np.ndarray) -> bool:
    """Whether a fragment is too quiet to set a level by.

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time].

    Returns
    -------
    silent : bool
        True below -80 dBFS RMS.

    Example
    -------
    >>> is_silent(np.zeros(4)), is_silent(np.full(4, 0.01))
    (True, False)
    """
    return rms(waveform) < SILENCE
