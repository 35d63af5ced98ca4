"""Headers of WAV files that other programs wrote."""

import numpy as np
import soundfile
from preparation.wav import AudioFormat, read_wav_header, read_wav_samples


def test_wav_header_with_more_chunks(tmp_path):
    # As editors write them: one of odd length before the samples.
    path = tmp_path / "a.wav"
    soundfile.write(path, np.arange(10, dtype=np.int16), 8000)
    whole = path.read_bytes()
    note = b"LIST" + (5).to_bytes(4, "little") + b"INFOx\0"
    path.write_bytes(whole[:36] + note + whole[36:] + b"trailing")
    assert read_wav_header(path) == (AudioFormat(8000, 10), 44 + len(note))


def test_a_start_that_no_file_can_have(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(9), 8000, subtype="PCM_16")
    assert len(read_wav_samples(tmp_path / "a.wav", first=10**30)) == 0
