"""Speaks sentences with eSpeak NG and writes the samples to standard output.

This is a program of its own, started once per voice: eSpeak NG keeps states
that survive even `espeak_Terminate`, so that only a fresh process speaks the
same sentences the same way every time.

Standard input: JSON with `library` and `data` (where eSpeak NG lives), `voice`
and `utterances`, a list of {"text", "rate", "pitch", "range"}.
Standard output: for each utterance the number of samples (4 bytes, little
endian) and the samples (16-bit PCM, mono, 22 050 Hz).

It imports the standard library only, so that it starts in milliseconds.
"""

import ctypes
import json
import sys

# Values from eSpeak NG's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
POS_CHARACTER = 1
CHARS_UTF8 = 1
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}

SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def main():
    """Reads the request, speaks, writes the samples."""
    request = json.load(sys.stdin)
    espeak = ctypes.CDLL(request["library"])
    rate = espeak.espeak_Initialize(
        AUDIO_OUTPUT_SYNCHRONOUS,
        0,
        request["data"].encode(),
        INITIALIZE_DONT_EXIT,
    )
    if rate != 22050:
        sys.exit(f"eSpeak NG did not start (espeak_Initialize gave {rate}).")
    if espeak.espeak_SetVoiceByName(request["voice"].encode()):
        sys.exit(f"eSpeak NG has no voice {request['voice']}.")

    samples = bytearray()

    @SynthCallback
    def collect(wave, n_samples, _events):
        if wave and n_samples > 0:
            samples.extend(ctypes.string_at(wave, 2 * n_samples))
        return 0

    # eSpeak NG has just seeded its noise with the time of day.
    espeak.espeak_ng_SetRandSeed(1)
    espeak.espeak_SetSynthCallback(collect)
    for utterance in request["utterances"]:
        for name, number in PARAMETERS.items():
            espeak.espeak_SetParameter(number, utterance[name], 0)
        samples.clear()
        text = utterance["text"].encode()
        espeak.espeak_Synth(
            text, len(text) + 1, 0, POS_CHARACTER, 0, CHARS_UTF8, None, None
        )
        sys.stdout.buffer.write((len(samples) // 2).to_bytes(4, "little"))
        sys.stdout.buffer.write(samples)


if __name__ == "__main__":
    main()
