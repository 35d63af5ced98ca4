"""All command lines: what ``--help`` says, and one name for one thing."""

import argparse
import runpy
import signal
import sys
from pathlib import Path

import pytest
from polsess.errors import UserError
from polsess.training.options import check_options, make_train_parser

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/PolSESS"
HPARAMS = sorted((RECIPE / "hparams").glob("*.yaml"))
COMMANDS = [
    path
    for folder in (RECIPE, RECIPE / "separation", ROOT / "tools")
    for path in [*folder.glob("*.py"), *folder.glob("bench/*.py")]
    if not path.is_symlink()
    and "make_parser" in path.read_text(encoding="utf-8")
    and path.name != "train.py"  # reads its options otherwise
]
# What each name means, in whatever command it is. A new name is added here
# when no other says the same.
MEANINGS = {
    # what is read
    "data_folder": "the corpus",
    "model": "a run's folder or an export; of a sweep: name of a model",
    "models": "YAML files of models, by name",
    "run_folder": "a trained run's folder",
    "runs": "runs' folders, or folders with such",
    "series": "YAML file of a series, or of a model",
    "recordings": "audio files, folders, or -",
    "folder": "the only folder that a command is about",
    "files": "YAML files of sweeps",
    "trials": "CSV file of trials",
    "stage": "of a sweep",
    "values": "CSV file of published values",
    "tables": "YAML file of scenes and events",
    "speech": "folder of speakers",
    "scenes": "folder of scene classes",
    "events": "folder of event classes",
    "settings": "YAML file of the finalists' other settings",
    "sweeps": "folders of stages",
    "storage": "Orion's PickledDB",
    "storage_config": "YAML file of Orion's storage",
    "experiment": "names of Orion's experiments",
    # what is written
    "output": "where results go, a folder or a file",
    "save_folder": "where manifests go, as in the YAML files of SpeechBrain",
    "root": "the corpus to make",
    "figures": "folder that gets figures too",
    "csv": "file that gets what is printed else",
    "write": "folder that gets the next stage's file",
    "onnx": "write an ONNX file too",
    "json": "print as JSON",
    "save_audio": "number of mixtures whose audio is written",
    "force": "replace what is there",
    "table": "only print tables",
    # of what
    "split": "of the corpus",
    "variants": "of mixtures",
    "evaluation": "name of an evaluation",
    "metric": "the one that is compared",
    "metrics": "all that are computed",
    "averaged": "the averaged weights",
    "baseline": "name of the model that others are compared with",
    "baseline_si_sdr": "dB without a search",
    "from": "stages of a sweep",
    "params": "names of parameters",
    "limit": "number of mixtures that are taken, the first",
    "subset_sizes": "numbers of rows",
    "mixtures": "number of mixtures that are made or measured",
    "examples": "number of mixtures shown",
    "train": "number of mixtures in the split",
    "valid": "number of mixtures in the split",
    "test": "number of mixtures in the split",
    "sentences": "number to train on",
    "test_sentences": "number to test on",
    # how
    "seed": "everything random follows from it",
    "seeds": "of several runs",
    "device": "where to compute",
    "devices": "where several runs compute",
    "jobs": "number of processes",
    "workers": "number of trials at a time",
    "num_workers": "number of a loader's processes, as in the YAML files",
    "threads": "of a process, to be measured",
    "precision": "fp32, bf16 or fp16",
    "batch_size": "mixtures at once",
    "batch_sizes": "several of them, to be measured",
    "steps": "batches that are trained on",
    "chunk": "seconds separated at once",
    "overlap": "seconds shared by chunks",
    "duration": "seconds of a mixture or recording",
    "durations": "several of them, to be measured",
    "flat": "seconds of several recordings, to be measured",
    "timeout": "seconds that a program may take for a recording",
    "max_seconds": "that a measurement may take",
    "sample_rate": "Hz",
    "decided": "dB",
    "channels": "of a recording",
    "subtype": "of samples in a file",
    "check": "how thorough",
    "on_error": "stop or drop",
    "noprogressbar": "no progress",
    "resamples": "number of bootstrap samples or permutations",
    "rounds": "of turns in a measurement",
    "searches": "of each kind, in a measurement",
    "small": "the tests' sizes of networks",
    "compile": "by torch.compile",
    "network": "measure the whole network only",
    "n": "number of finalists",
    "min_diversity": "standard deviations",
    "min_per_sweep": "number of finalists",
    "fraction": "share of the finished trials",
    "margin": "share of a parameter's range",
    "licence": "of the weights",
    # recognisers
    "trust": "run the code of a public model's folder",
    "speechbrain": "folder of a recogniser",
    "whisper": "name or folder of a recogniser",
    "command": "a program that recognises",
    "language": "that Whisper hears",
}
UNITS = {
    "chunk": "SECONDS|s",
    "overlap": "SECONDS|s",
    "duration": "SECONDS|s",
    "durations": "SECONDS|s",
    "timeout": "SECONDS",
    "sample_rate": "HZ",
    "decided": "dB",
    "baseline_si_sdr": "DB",
}


class Captured(BaseException):
    """Carries a parser out of a command."""


@pytest.fixture
def parsers_of(monkeypatch):
    """Start commands until they read their command line."""

    def capture(parser, *arguments):
        raise Captured(parser)

    def parsers(script):
        monkeypatch.syspath_prepend(script.parent)
        monkeypatch.setattr(sys, "argv", [str(script), "--help"])
        monkeypatch.setattr(
            argparse.ArgumentParser, "parse_known_args", capture
        )
        with pytest.raises(Captured) as captured:
            runpy.run_path(str(script), run_name="__main__")
        (parser,) = captured.value.args
        found = [parser]
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += action.choices.values()
        return found

    signals = signal.SIGTERM, signal.SIGPIPE
    handlers = [signal.getsignal(number) for number in signals]
    yield parsers
    for number, handler in zip(signals, handlers, strict=True):
        signal.signal(number, handler)


def options_of(parser):
    """List a parser's options, but for help, sub-commands and hidden ones."""
    return [
        action
        for action in parser._actions
        if action.dest != "help"
        and action.help != argparse.SUPPRESS
        and not isinstance(action, argparse._SubParsersAction)
    ]


def name_of(action):
    """Tell the name of an option."""
    return (
        action.option_strings[-1][2:] if action.option_strings else action.dest
    )


def check_help(parser):
    """Check that each option's help tells its meaning and its default."""
    for action in options_of(parser):
        where = f"{parser.prog}: {name_of(action)}"
        assert action.help and action.help.strip(), where
        takes_value = action.option_strings and action.nargs != 0
        told = "(default" in action.help or "required)" in action.help
        assert not takes_value or told, f"{where}: no default is told"


@pytest.mark.parametrize(
    "script",
    sorted(COMMANDS),
    ids=lambda script: script.stem,
)
def test_help_of_each_command(script, parsers_of):
    for parser in parsers_of(script):
        assert not parser.allow_abbrev, parser.prog
        assert "> python " in parser.description, f"{parser.prog}: no example"
        assert script.name in parser.description, f"{parser.prog}: no example"
        assert parser.format_help()  # no faulty % in it
        check_help(parser)
        for action in options_of(parser):
            name = name_of(action)
            assert name in MEANINGS, f"{parser.prog}: {name} is a new name"
            if name in UNITS:
                text = f"{action.metavar} {action.help}".replace("(", "")
                words = text.replace(",", "").replace(")", "").split()
                assert set(UNITS[name].split("|")) & set(words), (
                    f"{parser.prog}: {name} has no unit"
                )


@pytest.mark.parametrize("hparams", HPARAMS, ids=lambda path: path.stem)
def test_help_of_training_has_each_value_and_its_comment(hparams):
    parser = make_train_parser("", str(hparams))
    check_help(parser)
    text = " ".join(parser.format_help().split())
    assert "--data_folder VALUE the corpus, e.g. " in text
    assert "/corpora/PolSESS_C_16k (required)" in text
    assert "--seed VALUE published runs: 42, 123, 456 (default: 42)" in text
    assert "--curriculum VALUE From which epoch which variants" in text
    assert "(default: results/<experiment_name>/<seed>)" in text
    assert "--separator" not in text  # is built
    assert "--jit" not in text  # is refused
    for action in options_of(parser):
        assert not action.help.startswith("("), f"--{action.dest}: no comment"


def test_training_refuses_what_speechbrain_would_misunderstand(capsys):
    yaml = str(HPARAMS[0])
    with pytest.raises(UserError, match="--prec: write it out, --precision"):
        check_options([yaml, "--prec", "bf16"], "")
    with pytest.raises(UserError, match="--h: write it out, --help"):
        check_options([yaml, "--h", "bf16"], "")
    with pytest.raises(SystemExit, match="2"):
        check_options([], "")
    assert "give a model's YAML file first" in capsys.readouterr().err
    check_options([yaml, "--seed", "1", "--lr~uniform(0, 1)"], "")
    with pytest.raises(UserError, match=r"no\.yaml: cannot be read"):
        check_options(["no.yaml", "--help"], "")


def test_help_of_training_is_printed_instead_of_speechbrains(capsys):
    with pytest.raises(SystemExit, match="0"):
        check_options([str(HPARAMS[0]), "--help"], "What it does.")
    text = capsys.readouterr().out
    assert text.startswith("usage: ") and "What it does." in text
    assert "--kernel_size VALUE" in text
