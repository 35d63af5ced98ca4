"""asr_eval.py through its command line."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import asr_eval
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from polsess.data.dataset import RenderedMixtures, read_manifest
from polsess.data.sampling import all_examples
from polsess.errors import UserError
from polsess.inference.models import load_trained_run
from small_test_sets import write_other_corpus

TOOL = Path(asr_eval.__file__)

VARIANTS = ("SER", "SE", "C")

# Keeps what it hears, and says how many recordings it has heard.
PROGRAM = """
import os, shutil, sys
heard = {folder!r}
number = len(os.listdir(heard))
shutil.copy(sys.argv[1], heard + "/" + str(number) + ".wav")
print("Numer", number)
"""


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory):
    """Copy the small corpus and say what is said in it."""
    root = tmp_path_factory.mktemp("said") / small_corpus.name
    shutil.copytree(small_corpus, root)
    names = sorted(path.name for path in (root / "test/mix").iterdir())
    table = pd.DataFrame({"mixFile": names})
    table["speaker1Text"] = "Ala ma kota."
    table["speaker1CutAtEnd"] = "i"
    table["speaker2Text"] = "Jan śpi."
    table.to_csv(root / "test/transcripts.csv", index=False)
    return root


@pytest.fixture(scope="module")
def evaluated(corpus, trained_runs, tmp_path_factory):
    """Evaluate as a user does; return the command's parts and its folders."""
    folder = tmp_path_factory.mktemp("evaluated")
    heard = folder / "heard"
    heard.mkdir()
    program = folder / "program.py"
    program.write_text(PROGRAM.format(folder=str(heard)))
    arguments = [
        *(str(trained_runs("convtasnet")), "--data_folder", str(corpus)),
        *("--limit", "2", "--variants", *VARIANTS, "--noprogressbar"),
        *("--command", f"{sys.executable} -I -S {program} {{file}}"),
        *("--output", str(folder / "output"), "--device", "cpu"),
    ]
    result = subprocess.run(
        [sys.executable, str(TOOL), *arguments], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return arguments, folder / "output", heard, result.stdout


def read_hypotheses(output):
    """Read what was heard, by name, variant and stream."""
    table = pd.read_csv(output / "hypotheses.csv", keep_default_na=False)
    return table.set_index(["ID", "variant", "audio"])["text"]


def is_the_same_sound(heard, expected):
    """Whether two signals differ by no more than level and rounding."""
    scale = heard @ expected / (expected @ expected)
    error = heard - scale * expected
    return np.linalg.norm(error) < 1e-3 * np.linalg.norm(heard)


def test_each_stream_is_heard_once(evaluated, corpus, trained_runs):
    _, output, heard, _ = evaluated
    run = load_trained_run(trained_runs("convtasnet"))
    rows = read_manifest(run.folder / "manifests/test_all.csv", corpus)
    mixtures = RenderedMixtures(rows, "SB")
    texts = read_hypotheses(output)
    # The first row is indoors and the second outdoors: two variants each.
    assert len(texts) == len(list(heard.iterdir())) == 2 * (2 + 2 * 3)
    for example in all_examples(rows[:2], VARIANTS):
        item = mixtures[example]
        with torch.no_grad():
            estimates = run.separator(item["mixture"].unsqueeze(0))[0].numpy()
        sources = item["targets"].numpy()

        def sound(variant, stream, name=item["id"]):
            number = texts[name, variant, stream].split()[1]
            return soundfile.read(heard / f"{number}.wav")[0]

        mixture = item["mixture"].numpy()
        assert is_the_same_sound(sound(example.variant, "mixture"), mixture)
        heard_estimates = []
        for n in (1, 2):
            source = sound("clean", f"source {n}")
            assert is_the_same_sound(source, sources[:, n - 1])
            level = np.sqrt(np.mean(source**2))
            assert 20 * np.log10(level) == pytest.approx(-26, abs=0.1)
            estimate = sound(example.variant, f"estimate {n}")
            same = [is_the_same_sound(estimate, e) for e in estimates.T]
            assert sum(same) == 1
            heard_estimates.append(same.index(True))
        assert sorted(heard_estimates) == [0, 1]


def test_a_corpus_of_another_rate(evaluated, tmp_path):
    arguments, *_ = evaluated
    root = write_other_corpus(tmp_path / "Mix", (1, 1, 2))
    (root / "wav8k").rename(root / "wav16k")
    for path in root.glob("wav16k/min/test/*/*.wav"):
        soundfile.write(path, soundfile.read(path, dtype="int16")[0], 16000)
    names = sorted(p.name for p in root.glob("wav16k/min/test/s1/*.wav"))
    table = pd.DataFrame({"mixFile": names})
    table[["speaker1Text", "speaker2Text"]] = "Ala"
    (root / "test").mkdir()
    table.to_csv(root / "test/transcripts.csv", index=False)
    (tmp_path / "heard").mkdir()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(folder=str(tmp_path / "heard")))
    asr_eval.main(
        [
            *(*arguments, "--data_folder", str(root), "--limit", "1"),
            *("--variants", "mix_clean", "mix_both"),
            *("--command", f"{sys.executable} -I -S {program} {{file}}"),
            *("--output", str(tmp_path / "output")),
        ]
    )
    texts = read_hypotheses(tmp_path / "output")
    assert set(texts.index.get_level_values("ID")) == {names[0][:-4]}
    shown = set(texts.index.get_level_values("variant"))
    assert shown == {"clean", "mix_clean", "mix_both"}
    for path in (tmp_path / "heard").iterdir():
        info = soundfile.info(path)
        assert (info.samplerate, info.frames) == (8000, 2000)


def test_rates_of_known_hypotheses(evaluated, tmp_path, capsys):
    arguments, output, heard, _ = evaluated
    copied = shutil.copytree(output, tmp_path / "output")
    table = pd.read_csv(copied / "hypotheses.csv", keep_default_na=False)
    said = {
        "source 1": "Ala ma kota i",  # the cut word may be heard
        "source 2": "Jan śpi",
        "estimate 1": "jan śpi",  # swapped
        "estimate 2": "ala ma psa",
        "mixture": "ala ma kota",
    }
    table["text"] = table["audio"].map(said)
    table.to_csv(copied / "hypotheses.csv", index=False)
    before = len(list(heard.iterdir()))
    again = [*arguments, "--output", str(copied)]
    asr_eval.main(again)
    assert len(list(heard.iterdir())) == before
    rates = pd.read_csv(copied / "rates.csv").set_index(["variant", "audio"])
    assert set(rates.index.get_level_values(0)) == set(VARIANTS)
    for variant in VARIANTS:
        clean = rates.loc[variant, "clean"]
        assert (clean[["wer", "cer", "cpwer", "orcwer"]] == 0).all()
        separated = rates.loc[variant, "separated"]
        # "jan śpi" for three words: 3 errors; "ala ma psa" for two: 3.
        assert separated["wer"] == pytest.approx(6 / 5)
        assert separated["cpwer"] == pytest.approx(1 / 5)
        mixture = rates.loc[variant, "mixture"]
        # Speaker 1 is heard, speaker 2 is not: 3 errors, or 2 words missing.
        assert mixture["wer"] == pytest.approx(3 / 5)
        assert mixture["cpwer"] == mixture["orcwer"] == pytest.approx(2 / 5)
        assert mixture["wer_low"] == mixture["wer_high"] == mixture["wer"]
    errors = pd.read_csv(copied / "errors.csv")
    assert len(errors) == 4 * 3
    output = capsys.readouterr()
    assert "| C | clean | 2 | 0.0 (0.0 to 0.0)" in output.out
    assert output.err == ""
    table["text"] = "[0:00.0 --> 0:04.0] " + table["text"]
    table.to_csv(copied / "hypotheses.csv", index=False)
    asr_eval.main(again)
    told = rf"{len(table)} texts have time stamps.*'\[0:00.0 --> "
    assert re.search(told, capsys.readouterr().err)


def test_an_interrupted_evaluation_goes_on(evaluated, tmp_path):
    arguments, output, heard, _ = evaluated
    copied = shutil.copytree(output, tmp_path / "output")
    path = copied / "hypotheses.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-3]) + lines[-3][:9])
    before = len(list(heard.iterdir()))
    asr_eval.main([*arguments, "--output", str(copied)])
    assert len(list(heard.iterdir())) == before + 3
    assert len(path.read_text().splitlines()) == len(lines)


# Fails while there is a file "broken", but for what it hears first.
FAILING = """
import pathlib, sys
folder = pathlib.Path({folder!r})
if (folder / "first").exists() and (folder / "broken").exists():
    sys.exit(3)
(folder / "first").touch()
print("Ala")
"""


def test_failures_are_reported_and_heard_again(evaluated, tmp_path, capsys):
    arguments, *_ = evaluated
    program = tmp_path / "program.py"
    program.write_text(FAILING.format(folder=str(tmp_path)))
    command = f"{sys.executable} -I -S {program} {{file}}"
    again = [*arguments, "--command", command, "--limit", "1"]
    again += ["--variants", "C", "--output", str(tmp_path / "output")]

    def failed():
        rates = pd.read_csv(tmp_path / "output/rates.csv").set_index("audio")
        return list(rates.loc[["clean", "separated", "mixture"], "failed"])

    (tmp_path / "first").touch()
    (tmp_path / "broken").touch()
    with pytest.raises(UserError, match="nothing .* of 5 .*: exit code 3"):
        asr_eval.main(again)
    assert not (tmp_path / "output/rates.csv").exists()
    (tmp_path / "first").unlink()
    asr_eval.main(again)
    output = capsys.readouterr()
    assert "4 streams or pieces were not recognised" in output.err
    assert "exit code 3" in output.err
    assert failed() == [1, 2, 1]
    # Mended, the same command recognises the others.
    (tmp_path / "broken").unlink()
    asr_eval.main(again)
    assert capsys.readouterr().err == ""
    assert failed() == [0, 0, 0]
    assert (read_hypotheses(tmp_path / "output") == "Ala").all()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--data_folder", "nowhere"), "nowhere.test.transcripts.csv"),
        (("--split", "val"), "val.transcripts.csv: cannot be read"),
        (("--command", "nothing {file}"), "there is no program nothing"),
        (("--command", "basename {file}"), "hypotheses of something else"),
        (("--command", ""), "write {file}"),
        (("--language", "polish"), "--language is for --whisper only"),
        (("--averaged",), "without --ema_decay"),
    ],
)
def test_what_cannot_be_evaluated(options, named, evaluated):
    arguments, *_ = evaluated
    with pytest.raises((UserError, ValueError), match=named):
        asr_eval.main([*arguments, *options])


def test_mixtures_without_a_transcript(evaluated, corpus, tmp_path):
    arguments, *_ = evaluated
    other = shutil.copytree(corpus, tmp_path / corpus.name)
    path = other / "test/transcripts.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(UserError, match="no transcript of"):
        asr_eval.main([*arguments, "--data_folder", str(other)])
