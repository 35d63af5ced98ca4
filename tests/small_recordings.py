"""Recordings of one's own to make a corpus from."""

import numpy as np
import soundfile

SIZES = ("--train", "6", "--valid", "2", "--test", "2", "--jobs", "1")


def write_audio(path, seconds, rate, channels=1, pitch=None, seed=0):
    """A buzz of some pitch, or noise, a different one in each channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    time_axis = np.arange(int(seconds * rate)) / rate
    waves = 0.03 * rng.standard_normal((len(time_axis), channels))
    if pitch:
        syllables = 1 + np.sin(2 * np.pi * rng.uniform(2, 5) * time_axis)
        buzz = np.sign(np.sin(2 * np.pi * pitch * time_axis)) * syllables
        waves += 0.05 * buzz[:, None]
    soundfile.write(path, waves, rate)


def write_recordings(folder, n_speakers=7, seconds=5.0, rate=8000, channels=1):
    """Speakers, scenes and events in several formats; gives the options."""
    for speaker in range(n_speakers):
        for number in range(3):
            write_audio(
                folder / f"speech/s{speaker}/day {number}/take.flac",
                *(seconds + number / 3, rate, channels),
                pitch=90 + 25 * speaker,
                seed=10 * speaker + number,
            )
    for number in range(3):
        write_audio(folder / f"scenes/car/{number}.ogg", 6, 22050, 2)
        write_audio(folder / f"scenes/Street Traffic/{number}.wav", 3, 16000)
        write_audio(folder / f"events/car-horn/{number}.wav", 0.4, 48000)
        write_audio(folder / f"events/cough/{number}.flac", 4.5, 11025)
    return [
        text
        for kind in ("speech", "scenes", "events")
        for text in (f"--{kind}", str(folder / kind))
    ]
