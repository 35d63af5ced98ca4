"""asr_demo.py, the recogniser to try asr_eval.py with."""

import asr_demo
import asr_eval
import numpy as np
import pandas as pd
import pytest
import soundfile
from asr.recognisers import SpeechBrainRecogniser
from asr.transcripts import normalise
from corpus.voices import Spoken, Word
from polsess.errors import UserError
from small_made_corpora import make


def test_the_demonstration_is_for_speechbrain(tmp_path, capsys):
    arguments = ["demo", "--sentences", "6", "--steps", "10"]
    arguments += ["--test_sentences", "2", "--noprogressbar"]
    asr_demo.main(arguments)
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        "hyperparams.yaml",
        "encoder.ckpt",
        "tokenizer.ckpt",
    }
    first = capsys.readouterr().out
    assert first.startswith("2 clean sentences of unseen voices: WER ")
    recogniser = SpeechBrainRecogniser("demo", "cpu")
    assert recogniser.rate == 8000
    noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    assert isinstance(recogniser.recognise(noise, 8000), str)
    with pytest.raises(UserError, match="demo: is there already"):
        asr_demo.main(arguments)


def test_the_demonstration_replaces_nothing(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    for folder in ("mine", "mine/notes.txt", "."):
        with pytest.raises((UserError, OSError), match="mine|already"):
            asr_demo.main([folder, "--steps", "1"])
    assert (tmp_path / "mine/notes.txt").exists()


def test_the_whole_path_with_a_small_recogniser(
    trained_runs, tmp_path, monkeypatch
):
    """It learns four clean recordings by heart, and hears them in mixtures."""
    root = tmp_path / "corpus"
    sizes = ["--train", "1", "--valid", "1", "--test", "2", "--jobs", "1"]
    make(root, *sizes)
    said = pd.read_csv(root / "test/transcripts.csv").to_dict("records")
    recordings = []
    for row in said:
        for speaker in ("speaker1", "speaker2"):
            path = root / "test/clean" / row[f"{speaker}File"]
            samples, _ = soundfile.read(path, dtype="float32")
            text = normalise(row[f"{speaker}Text"])
            recordings.append(Spoken(samples, [Word(text, 0, len(samples))]))
    monkeypatch.setattr(asr_demo, "BATCH", 4)
    monkeypatch.setattr(asr_demo, "NOISY_SHARE", 0)
    recogniser = tmp_path / "recogniser"
    asr_demo.train(recogniser, recordings, 60, seed=0, quiet=True)
    asr_eval.main(
        [str(trained_runs("convtasnet")), "--data_folder", str(root)]
        + ["--speechbrain", str(recogniser), "--variants", "C"]
        + ["--output", "output", "--device", "cpu", "--noprogressbar"]
    )
    rates = pd.read_csv("output/rates.csv").set_index("audio")
    for rate in ("wer", "cer", "cpwer", "orcwer"):
        assert rates.loc["clean", rate] < 0.2
        assert rates.loc["mixture", rate] > 0.4
        assert rates.loc["separated", rate] > rates.loc["clean", rate]
