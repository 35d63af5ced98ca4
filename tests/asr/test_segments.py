"""Pieces of speech, and what the recogniser is given of them."""

import numpy as np
import pytest
import soundfile
from asr.listening import open_hypotheses
from asr.recognisers import Recogniser
from asr.segments import Segment, transcribe_stream
from polsess.audio import Recording


class Counting(Recogniser):
    """A recogniser that fails at the shortest."""

    calls = 0

    def recognise(self, samples, rate):
        """Say how many samples there are, and how loud."""
        self.calls += 1
        if len(samples) < rate / 2:
            raise RuntimeError("too short")
        level = 20 * np.log10(samples.std())
        return f" {len(samples)} \n {level:.1f} dB "


@pytest.mark.parametrize("as_file", [False, True])
def test_pieces_are_heard_alone_and_at_one_level(
    as_file, tmp_path, monkeypatch
):
    def find_speech(blocks, rate, longest):
        assert sum(map(np.size, blocks)) == 3 * 8000
        assert (rate, longest) == (8000, 7.0)
        return [(0.25, 0.75), (1.0, 1.25), (1.5, 3.0)]

    monkeypatch.setattr("asr.segments.find_speech", find_speech)
    samples = np.random.default_rng(0).normal(size=3 * 8000)
    samples = samples * np.repeat([0.1, 0.01], 12_000)
    soundfile.write(tmp_path / "a.wav", samples, 8000, "FLOAT")
    stream = Recording(tmp_path / "a.wav") if as_file else samples
    recogniser = Counting()
    with open_hypotheses(tmp_path, recogniser) as hypotheses:
        for speaker in ("anna", "jan"):  # whose stream sounds the same
            found = transcribe_stream(stream, 8000, speaker, hypotheses, 7.0)
            assert [*found] == [
                Segment(speaker, 0.25, 0.75, "4000 -26.0 dB", ""),
                Segment(speaker, 1.0, 1.25, "", "too short"),
                Segment(speaker, 1.5, 3.0, "12000 -26.0 dB", ""),
            ]
    assert recogniser.calls == 3
