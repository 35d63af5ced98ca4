"""A program that speaks sentences with eSpeak NG, for `voices.py`.

It is started once per voice: eSpeak NG keeps states that survive even
`espeak_Terminate`, so that only a fresh process speaks the same sentences the
same way every time.

Standard input: JSON with `library` and `data` (where eSpeak NG lives), `voice`
and `utterances`, a list of {"text", "rate", "pitch", "range"}.
Standard output: a line of JSON for each utterance, [samples, words]: samples in
Base64 (16-bit PCM, mono, 22 050 Hz), words as a list of [position, length,
start, end], the first two in characters of the text, the others in samples.

It imports the standard library only, so that it starts in milliseconds.
"""

import base64
import ctypes
import json
import sys

# Values from eSpeak NG's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
POS_CHARACTER = 1
CHARS_UTF8 = 1
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}
LAST_EVENT = 0
WORD = 1
END_OF_CLAUSE = 5


class Event(ctypes.Structure):
    """A position in the text that eSpeak NG has reached."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


SAMPLES, EVENTS = ctypes.POINTER(ctypes.c_short), ctypes.POINTER(Event)
SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, SAMPLES, ctypes.c_int, EVENTS)


def main() -> None:
    """Read the request, speak, write the samples and words."""
    request = json.load(sys.stdin)
    espeak = ctypes.CDLL(request["library"])
    data = request["data"].encode()
    mode, flags = AUDIO_OUTPUT_SYNCHRONOUS, INITIALIZE_DONT_EXIT
    rate = espeak.espeak_Initialize(mode, 0, data, flags)
    if rate != 22050:
        sys.exit(f"eSpeak NG did not start (espeak_Initialize gave {rate}).")
    if espeak.espeak_SetVoiceByName(request["voice"].encode()):
        sys.exit(f"eSpeak NG has no voice {request['voice']}.")

    samples = bytearray()
    words: list = []

    # A word lasts until the next one begins, or its clause ends.
    @SynthCallback
    def collect(wave, n_samples, events):
        for event in events:
            if event.type == LAST_EVENT:
                break
            ends = event.type in (WORD, END_OF_CLAUSE)
            if ends and words and len(words[-1]) == 3:
                words[-1].append(event.sample)
            if event.type == WORD:
                place = event.text_position - 1
                words.append([place, event.length, event.sample])
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
        words.clear()
        text = utterance["text"].encode()
        options = (0, POS_CHARACTER, 0, CHARS_UTF8, None, None)
        espeak.espeak_Synth(text, len(text) + 1, *options)
        print(json.dumps([base64.b64encode(samples).decode(), words]))


if __name__ == "__main__":
    main()
