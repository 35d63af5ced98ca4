"""Recordings whose headers say something else than what is in them."""

import io
import struct

import numpy as np
import soundfile

RATE = 16000
# kbit/s of MPEG-2 layer III
BIT_RATES = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0]
ID3 = b"ID3\3\0\0\0\0\2\0TIT2" + bytes(252)


def tone(seconds, pitch):
    """Make a tone with noise, at 16 kHz."""
    time = np.arange(int(seconds * RATE)) / RATE
    rng = np.random.default_rng(pitch)
    wave = 0.2 * np.sin(2 * np.pi * pitch * time)
    return (wave + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


A, B = tone(1.5, 300), tone(2.25, 440)
BOTH = np.concatenate([A, B])


def encode(signal, kind, subtype=None, rate=RATE, **options):
    """Encode a signal as a file of libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, signal, rate, subtype, format=kind, **options)
    return file.getvalue()


def mp3(signal, **options):
    """Encode as MPEG-2 layer III, whose first frame counts the others."""
    return encode(signal, "MP3", "MPEG_LAYER_III", **options)


def uncounted(content):
    """Take the first frame of an MP3 file away."""
    head = struct.unpack(">I", content[:4])[0]
    size = 72 * BIT_RATES[(head >> 12) & 15] * 1000 // RATE + ((head >> 9) & 1)
    return content[size:]


def flac(signal, samples):
    """Encode as FLAC whose header tells so many samples, 0 for unknown."""
    content = bytearray(encode(signal, "FLAC"))
    content[21:26] = (content[21] >> 4 << 36 | samples).to_bytes(5, "big")
    return bytes(content)


def wav(signal, riff=None, data=None):
    """Encode as WAV in 16 bits, with other sizes in its header."""
    content = bytearray(encode(signal, "WAV", "PCM_16"))
    for at, size in ((4, riff), (40, data)):
        if size is not None:
            content[at : at + 4] = size.to_bytes(4, "little")
    return bytes(content)
