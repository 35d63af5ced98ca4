"""Series of runs: their files, and what they start, with a stand-in."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
import yaml
from experiments import series
from experiments.series import read_series, train_series
from polsess.errors import UserError
from small_series import (
    HPARAMS,
    ROOT,
    STAND_IN,
    interrupt,
    write_result,
    write_series,
)

SHIPPED = ROOT / "tools/series"


def main(arguments):
    """Train a series; return the exit status."""
    return train_series(arguments)[0]


def test_baselines_are_the_published_models():
    seeds, runs = read_series(SHIPPED / "baselines.yaml")
    assert seeds == [42, 123, 456]
    models = {hparams.stem: options for _, hparams, options in runs}
    assert models.keys() == {path.stem for path in HPARAMS.glob("*.yaml")}
    positions = {"use_positional_encoding": "false"}
    assert models.pop("sepformer") == positions
    assert not any(models.values())


@pytest.mark.parametrize(
    "text, problem",
    [
        (None, "series.yaml: is not a series"),
        ("seeds: [1]", "series.yaml: no runs"),
        ("runs: [{name: ../a, hparams: H}]", "run 1: name '../a'"),
        ("runs: [{name: a, hparams: no.yaml}]", r"there is no file .*no\.yaml"),
        ("runs: [{name: a, hparams: H, options: 3}]", "run 1: options 3"),
        (
            "runs: [{name: a, hparams: H, options: {seed: 3}}]",
            "run 1: options: seed: give --seeds",
        ),
        (
            "runs: [{name: a, hparams: H}, {name: a, hparams: H}]",
            "two runs have the same name",
        ),
        ("runs: [{name: a, hparams: H}]", "no seeds"),
        ("{runs: [{name: a, hparams: H}], seeds: 4}", "seeds: 4; give"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, text, problem):
    path = tmp_path / "series.yaml"
    if text is not None:
        path.write_text(re.sub(r"\bH\b", str(HPARAMS / "dprnn.yaml"), text))
    with pytest.raises(UserError, match=problem):
        main([str(path)])


@pytest.mark.parametrize(
    "options, problem",
    [
        (["--seeds", "4x"], "--seeds: .*'4x'"),
        (["--seed", "4"], "--seed: give --seeds instead"),
        (["--lr", "1", "2"], "'2': options are given as --name value"),
        (["--lr", "1"], "no seeds; give e.g. --seeds 42"),
    ],
)
def test_mistakes_on_the_command_line_are_named(options, problem):
    with pytest.raises(UserError, match=problem):
        main([str(HPARAMS / "dprnn.yaml"), *options])


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Let jobs start the stand-in."""
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN)
    monkeypatch.setattr(series, "TRAIN", path)
    return path


def arguments_of(folder):
    """Read what a run was started with."""
    return json.loads((folder / "arguments.json").read_text())


def test_arguments_and_order(stand_in, tmp_path, capsys):
    stages = [{"epoch": 1, "variants": ["C", "R"], "lr_scheduler": False}]
    path = write_series(
        tmp_path / "mine.yaml",
        [
            {
                "name": "a",
                "hparams": os.path.relpath(HPARAMS / "dprnn.yaml", tmp_path),
                "options": {"lr": 0.00021, "curriculum": stages, "task": "SB"},
            },
            {"name": "b", "hparams": str(HPARAMS / "convtasnet.yaml")},
        ],
        seeds=[7, 5],
    )
    command = [str(path), "--data_folder", "corpus", "--lr=1e-2"]
    assert main([*command, "--output", "out"]) == 0
    hparams, *rest = arguments_of(Path("out/a/5"))
    assert Path(hparams).resolve() == HPARAMS / "dprnn.yaml"
    assert "--device" not in rest
    rest.remove("--noprogressbar")
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    assert yaml.safe_load(options.pop("--curriculum")) == stages
    assert options == {
        "--seed": "5",
        "--output_folder": "out/a/5",
        "--lr": "1e-2",
        "--task": "SB",
        "--data_folder": "corpus",
    }
    started = re.findall(
        r"^(\w), seed (\d): started, see", capsys.readouterr().out, re.M
    )
    assert started == [("a", "7"), ("a", "5"), ("b", "7"), ("b", "5")]


def test_skipped_and_resumed(stand_in, tmp_path, capsys):
    command = [str(HPARAMS / "dprnn.yaml"), "--seeds", "1", "2"]
    write_result(tmp_path / "results/dprnn/1")
    assert main([*command, "--lr", "0.001"]) == 0
    printed = capsys.readouterr().out
    assert "dprnn, seed 1: skipped, early-stopped\n" in printed
    assert "dprnn, seed 2: finished, 2.00 dB in epoch 1 of 3" in printed
    # What was not asked for stays, and is told.
    assert main([*command, "--lr", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert "seed 2: skipped, finished (lr was 0.001, now 0.1)\n" in printed
    # More epochs than the 3 of one and the 20 of the other.
    assert main([*command, "--number_of_epochs", "6"]) == 0
    printed = capsys.readouterr().out
    assert "dprnn, seed 1: skipped, early-stopped (number" in printed
    assert "dprnn, seed 2: resumed" in printed
    assert "| dprnn | 2 | 2.00 | 1 | 6 | 1.0 | finished |" in printed


@pytest.mark.parametrize("own, expected", [(None, "4"), ("3", "3")])
def test_jobs_on_two_devices_share_the_cores(
    stand_in, tmp_path, monkeypatch, own, expected
):
    monkeypatch.setattr(series, "cpu_count", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if own:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    # Each waits for the other, which one worker would never get to.
    folders = [tmp_path / "results" / name / "1" for name in "ab"]
    runs = [
        {
            "name": folder.parent.name,
            "hparams": str(HPARAMS / "dprnn.yaml"),
            "options": {"wait_for": str(other / "process")},
        }
        for folder, other in zip(folders, folders[::-1], strict=True)
    ]
    path = write_series(tmp_path / "series.yaml", runs, seeds=[1])
    assert main([str(path), "--devices", "cuda:0", "cuda:1"]) == 0
    devices = {
        arguments[arguments.index("--device") + 1]
        for arguments in map(arguments_of, folders)
    }
    assert devices == {"cuda:0", "cuda:1"}
    threads = {(folder / "threads").read_text() for folder in folders}
    assert threads == {expected}


def test_failing_and_diverging_jobs(stand_in, tmp_path, capsys):
    yaml_file = str(HPARAMS / "dprnn.yaml")
    runs = [
        {
            "name": "bad",
            "hparams": yaml_file,
            "options": {"fail": "no corpus"},
        },
        {"name": "nan", "hparams": yaml_file, "options": {"diverge": True}},
        {"name": "good", "hparams": yaml_file},
    ]
    path = write_series(tmp_path / "series.yaml", runs, seeds=[1])
    log = tmp_path / "results/bad/1/terminal.log"
    log.parent.mkdir(parents=True)
    log.write_text("Error: of long ago\n")
    assert main([str(path)]) == 1
    printed = capsys.readouterr().out
    assert "bad, seed 1: failed; Error: no corpus\n" in printed
    assert "nan, seed 1: diverged; Error: training stops: NaN\n" in printed
    assert "good, seed 1: finished, 1.00 dB" in printed
    assert log.read_text() == "Error: of long ago\nError: no corpus\n"
    # To diverge is a way to end, not a failure.
    write_series(path, runs[1:], seeds=[1])
    assert main([str(path)]) == 0
    assert "nan, seed 1: skipped, diverged" in capsys.readouterr().out
    # Without a last word: that of the time before does not count.
    stand_in.write_text("import os; os.abort()")
    write_series(path, runs[:1], seeds=[1])
    assert main([str(path)]) == 1
    assert "Error: without a word (exit status -6" in capsys.readouterr().out


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGHUP])
def test_interrupted(stand_in, tmp_path, sent):
    program = (
        "import sys, pathlib\n"
        "from experiments import series\n"
        f"series.TRAIN = pathlib.Path({str(stand_in)!r})\n"
        "sys.exit(series.train_series(sys.argv[1:])[0])"
    )
    command = [str(HPARAMS / "dprnn.yaml"), "--seeds", "1", "2", "3"]
    command += ["--devices", "cpu", "cpu", "--sleep", "60"]
    notes = [tmp_path / f"results/dprnn/{n}/process" for n in (1, 2)]

    def are_ready():
        return all(note.exists() and note.read_text() for note in notes)

    status, printed, errors = interrupt(program, command, are_ready, sent)
    assert (status, errors) == (130, "")
    for note in notes:
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text()), 0)
    assert printed.count("stopped; the same command goes on") == 2
    assert "| dprnn | 1 | – | – | – | – | interrupted |" in printed
    assert "| dprnn | 3 | – | – | – | – | not started |" in printed
    assert "not started" in (tmp_path / "results/dprnn.md").read_text()


@pytest.mark.parametrize(
    "name, content",
    [
        ("result.json", '{"best_valid_si_sdr": 2.3'),
        ("curve.csv", "epoch,valid_si_sdr,seconds\n1,2.5,9.0\n2,2."),
        ("divergence.json", '{"stopped"'),
    ],
)
def test_damaged_files_are_named(tmp_path, capsys, name, content):
    out = tmp_path / "out"
    write_result(out / "dprnn" / "1", epochs_run=20)
    damaged = out / "dprnn" / "2" / name
    damaged.parent.mkdir()
    damaged.write_text(content)
    common = [str(HPARAMS / "dprnn.yaml"), "--seeds", "1", "2"]
    common += ["--output", str(out)]
    assert main([*common, "--table"]) == 1
    printed = capsys.readouterr()
    assert re.fullmatch(
        rf"Error: {re.escape(str(damaged))}: is damaged \(.+\); (put|del).+\n",
        printed.err,
    )
    assert "| dprnn | 2 | – | – | – | – | unreadable |" in printed.out
    assert "| dprnn | 1 | 2.35 |" in printed.out
    # It is not trained over what may be whole; the other is told as usual.
    assert main(common) == 1
    printed = capsys.readouterr().out
    assert f"dprnn, seed 2: failed; Error: {damaged}" in printed
    assert "dprnn, seed 1: skipped, finished\n" in printed
    assert damaged.read_text() == content
