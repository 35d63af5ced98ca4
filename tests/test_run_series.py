"""Series of runs: what is started, skipped and resumed, and the tables."""

import csv
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from run_series import main
from series import jobs
from series.errors import SeriesError
from series.jobs import check_seeds, differences, is_done, read_series
from series.runs import Run, read_run
from series.tables import csv_table, published_table, runs_table
from small_models import SEPARATION, SMALL

ROOT = Path(__file__).parent.parent
TOOL = ROOT / "tools/run_series.py"
HPARAMS = ROOT / "recipes/PolSESS/hparams"
SHIPPED = ROOT / "tools/series"

# Stands in for train.py: notes its arguments, and does as its options say.
STAND_IN = """
import json, os, sys, time
from pathlib import Path

arguments = sys.argv[1:]
options = dict(zip(arguments[1:], arguments[2:]))
folder = Path(options["--output_folder"])
(folder / "save").mkdir(exist_ok=True)
(folder / "arguments.json").write_text(json.dumps(arguments))
(folder / "process").write_text(str(os.getpid()))
if "--wait_for" in options:  # another run, which has to be there meanwhile
    for _ in range(200):
        if Path(options["--wait_for"]).exists():
            break
        time.sleep(0.05)
    else:
        sys.exit("Error: it did not come")
if "--sleep" in options:
    time.sleep(60)
if "--diverge" in options:
    (folder / "divergence.json").write_text('{"stopped": "NaN"}')
    sys.exit("Error: training stops: NaN")
if "--fail" in options:
    print("Error: " + options["--fail"])
    sys.exit(1)
epochs = int(options.get("--number_of_epochs", 3))
(folder / "result.json").write_text(json.dumps({
    "best_valid_si_sdr": float(options["--seed"]), "best_epoch": 1,
    "epochs_run": epochs, "seconds": 3600,
    "settings": {"number_of_epochs": epochs, "lr": 0.001},
}))
"""
RESULT = """{"best_valid_si_sdr": 2.5, "best_epoch": 1, "epochs_run": %s,
"seconds": 9, "settings": {"number_of_epochs": %s}}"""


def write_series(path, runs, **keys):
    """Write a series file."""
    path.write_text(yaml.safe_dump({"runs": runs, **keys}))
    return path


def write_result(folder, **changes):
    """Write a result.json of 9 epochs out of 20, the best of them the 4th."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "best_valid_si_sdr": 2.345,
        "best_epoch": 4,
        "epochs_run": 9,
        "seconds": 5400.0,
        "settings": {"number_of_epochs": 20, "early_stopping_patience": 5},
        **changes,
    }
    (folder / "result.json").write_text(json.dumps(result))


def write_curve(folder, values):
    """Write a curve.csv with a row a value, of half an hour each."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{n},{v},1800.0\n" for n, v in enumerate(values, start=1)]
    text = "".join(["epoch,valid_si_sdr,seconds\n", *rows])
    (folder / "curve.csv").write_text(text)


# Folders written by hand


def test_how_a_run_ended(tmp_path):
    def ended(name):
        return read_run(tmp_path / name, name, 1).ended

    write_result(tmp_path / "finished", epochs_run=20)
    assert ended("finished") == "finished"
    write_result(tmp_path / "early")
    assert ended("early") == "early-stopped"
    write_curve(tmp_path / "diverged", [1.0, 2.0])
    note = tmp_path / "diverged" / "divergence.json"
    note.write_text('{"reason": "NaN", "unixtime": 1}')
    assert ended("diverged") == "interrupted"  # it went back, and goes on
    note.write_text('{"reason": "NaN", "unixtime": 1, "stopped": true}')
    assert ended("diverged") == "diverged"
    write_result(tmp_path / "diverged")  # --test_only tested it
    assert ended("diverged") == "diverged"
    write_curve(tmp_path / "curve", [1.0])
    assert ended("curve") == "interrupted"
    (tmp_path / "save" / "save").mkdir(parents=True)
    assert ended("save") == "interrupted"
    assert ended("nothing") == "not started"
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "terminal.log").write_text("Error: no such corpus")
    assert ended("log") == "not started"


def test_a_result_of_an_unfinished_run_does_not_end_it(tmp_path):
    # --test_only tested an interrupted run: patience was not exhausted.
    write_result(tmp_path / "tested", epochs_run=6)
    assert read_run(tmp_path / "tested", "a", 1).ended == "interrupted"
    # A finished run was resumed for more epochs, and interrupted.
    write_result(tmp_path / "longer", epochs_run=20)
    write_curve(tmp_path / "longer", [0.0] * 20 + [5.0])
    run = read_run(tmp_path / "longer", "a", 1)
    assert (run.ended, run.best_epoch, run.epochs_run) == (
        "interrupted",
        21,
        21,
    )


def test_figures_of_a_run(tmp_path):
    write_result(tmp_path / "a")
    run = read_run(tmp_path / "a", "a", 1)
    assert (run.best, run.best_epoch, run.epochs_run) == (2.345, 4, 9)
    assert run.hours == 1.5
    write_curve(tmp_path / "b", [-1.5, 2.25, 2.25, 1.0, 0.5])
    run = read_run(tmp_path / "b", "b", 1)
    assert (run.best, run.best_epoch, run.epochs_run) == (2.25, 2, 5)
    assert run.hours == 2.5
    (tmp_path / "c" / "save").mkdir(parents=True)
    run = read_run(tmp_path / "c", "c", 1)
    assert (run.best, run.best_epoch, run.hours) == (None, None, None)
    write_curve(tmp_path / "d", [])
    assert read_run(tmp_path / "d", "d", 1) == Run("d", 1, "interrupted")


@pytest.mark.parametrize(
    "name, content",
    [
        ("result.json", '{"best_valid_si_sdr": 2.3'),
        ("result.json", '{"best_valid_si_sdr": 2.3}'),
        ("result.json", "[]"),
        ("result.json", RESULT % ("3", '"5"')),
        ("result.json", RESULT % ("1e999", "5")),
        ("result.json", "\0" * 100),
        ("curve.csv", ""),
        ("curve.csv", "epoch,valid_si_sdr,seconds\n1,2.5,9.0\n2,2."),
        ("curve.csv", "epoch,valid_si_sdr,seconds\n1,,9.0\n"),
        ("curve.csv", "epoch,valid_si_sdr\n1,2.5\n"),
        ("divergence.json", '{"stopped"'),
        ("divergence.json", "7"),
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
        rf"Error: {re.escape(str(damaged))}: is damaged \(.+\); delete .+\n",
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


def test_what_is_done():
    asked = {"number_of_epochs": 20, "early_stopping_patience": 5}
    finished = Run("a", 1, "finished", settings=asked)
    stopped = Run("a", 1, "early-stopped", settings=asked)
    for run in (finished, stopped, Run("a", 1, "diverged")):
        assert is_done(run, {})
        assert is_done(run, {"number_of_epochs": "20", "lr": "1"})
        assert is_done(run, {"number_of_epochs": "10"})
        assert is_done(run, {"early_stopping_patience": "5"})
    more = {"number_of_epochs": "21"}
    assert not is_done(finished, more)
    assert not is_done(stopped, more)
    assert is_done(Run("a", 1, "diverged"), more)
    patient = {"early_stopping_patience": "9"}
    assert is_done(finished, patient)
    assert not is_done(stopped, patient)
    assert not is_done(Run("a", 1, "interrupted"), {})
    assert not is_done(Run("a", 1, "not started"), {})


def test_differences_are_told_as_yaml_means_them():
    settings = {"lr": 1e-4, "use": True, "list": [{"epoch": 1}], "size": None}
    run = Run("a", 1, "finished", settings=settings)
    same = {"lr": "1e-4", "use": "True", "list": '[{"epoch": 1}]'}
    assert differences(run, {**same, "size": "null", "unknown": "1"}) == ""
    assert differences(run, {"use": "false"}) == "use True, not false"


# Tables

# Best of each seed; best epoch and epochs run of each; mean and deviation.
# The log gives ConvTasNet's as 0.29 to 0.30.
PUBLISHED = {
    "spmamba": ((5.68, 5.45, 5.55), ((19, 21), (29, 30), (26, 30)), 5.56, 0.12),
    "sepformer": (
        (5.14, 5.26, 4.89),
        ((45, 50), (42, 50), (42, 50)),
        5.10,
        0.19,
    ),
    "dprnn": ((3.01, 2.87, 3.20), ((95, 100), (62, 72), (94, 100)), 3.03, 0.17),
    "convtasnet": (
        (3.28, 2.70, 2.86),
        ((25, 50), (18, 28), (19, 37)),
        2.95,
        0.30,
    ),
}


def test_the_published_table_is_reproduced():
    runs = [
        Run(name, seed, "finished", value, *epochs, 3600.0 * seed)
        for name, (values, pairs, _, _) in PUBLISHED.items()
        for seed, value, epochs in zip(
            (42, 123, 456), values, pairs, strict=True
        )
    ]
    lines = published_table(runs).splitlines()
    assert lines[0] == (
        "| model | seed 42 | seed 123 | seed 456 | mean | sample std | "
        "best epoch / epochs run | hours of one run |"
    )
    expected = [
        "| "
        + " | ".join(
            [name]
            + [f"{value:.2f}" for value in (*values, mean, deviation)]
            + [", ".join(f"{best}/{run}" for best, run in pairs), "207.0"]
        )
        + " |"
        for name, (values, pairs, mean, deviation) in PUBLISHED.items()
    ]
    assert lines[2:] == expected


def test_tables_against_numpy_and_statistics():
    generator = np.random.default_rng(5)
    runs = [
        Run(
            name,
            seed,
            "finished",
            generator.normal(3, 1),
            int(generator.integers(1, 50)),
            50,
            generator.uniform(1e3, 1e5),
        )
        for name in ("a", "b")
        for seed in range(5)
    ]
    for row, name in zip(
        published_table(runs).splitlines()[2:], ("a", "b"), strict=True
    ):
        cells = row.strip("| ").split(" | ")
        own = [run for run in runs if run.name == name]
        best = [run.best for run in own]
        assert cells[1:6] == [f"{value:.2f}" for value in best]
        assert cells[6] == f"{np.mean(best):.2f}"
        assert cells[7] == f"{np.std(best, ddof=1):.2f}"
        assert cells[7] == f"{statistics.stdev(best):.2f}"
        assert cells[9] == f"{np.mean([r.seconds for r in own]) / 3600:.1f}"
    # Not rounded.
    rows = list(csv.DictReader(csv_table(runs).splitlines()))
    assert [float(row["best_valid_si_sdr"]) for row in rows] == [
        run.best for run in runs
    ]
    assert [float(row["seconds"]) for row in rows] == [
        run.seconds for run in runs
    ]


def test_tables_of_unfinished_series():
    runs = [
        Run("a", 1, "diverged", 5.684, 19, 21, 3600.0 * 37.5),
        Run("a", 2, "interrupted", 4.0, 2, 3, 3600.0),
        Run("a", 3, "not started"),
        Run("b", 1, "early-stopped", -1.0, 1, 11, 1800.0),
        Run("b", 2, "unreadable"),
        Run("b", 3, "interrupted"),
        Run("c", 1, "not started"),
        Run("c", 2, "not started"),
        Run("c", 3, "not started"),
    ]
    lines = runs_table(runs).splitlines()
    assert lines[0] == (
        "| model | seed | best SI-SDR (dB) | its epoch | epochs run | hours | "
        "how it ended |"
    )
    assert lines[2] == "| a | 1 | 5.68 | 19 | 21 | 37.5 | diverged |"
    assert lines[4] == "| a | 3 | – | – | – | – | not started |"
    assert lines[6] == "| b | 2 | – | – | – | – | unreadable |"
    assert len(lines) == 2 + len(runs)
    assert published_table(runs).splitlines()[2:] == [
        "| a | 5.68 | 4.00 | – | 4.84 | 1.19 | 19/21 (diverged), "
        "2/3 (interrupted), – | 19.2 |",
        "| b | -1.00 | – | – | -1.00 | – | 1/11, –, – | 0.5 |",
        "| c | – | – | – | – | – | –, –, – | – |",
    ]
    rows = list(csv.DictReader(csv_table(runs).splitlines()))
    assert rows[0]["ended"] == "diverged"
    assert rows[2]["best_epoch"] == ""


# The series that come with the recipe


def keys_of(hparams):
    """List the keys of a model's YAML."""
    text = hparams.read_text(encoding="utf-8")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return {key.value for key, _ in node.value}


@pytest.mark.parametrize(
    "name, count", [("baselines", 12), ("dprnn_finalists", 15)]
)
def test_shipped_series(name, count, tmp_path, capsys):
    path = SHIPPED / f"{name}.yaml"
    seeds, runs = read_series(path)
    assert seeds == [42, 123, 456]
    assert len(seeds) * len(runs) == count
    for _, hparams, options in runs:
        assert options.keys() <= keys_of(hparams)
    assert main([str(path), "--table"]) == 0
    table = capsys.readouterr().out
    assert table.count("not started") == count
    assert not list(tmp_path.iterdir())  # the current folder


def test_baselines_are_the_published_models():
    _, runs = read_series(SHIPPED / "baselines.yaml")
    models = {hparams.stem: options for _, hparams, options in runs}
    assert models.keys() == {path.stem for path in HPARAMS.glob("*.yaml")}
    positions = {"use_positional_encoding": "false"}
    assert models.pop("sepformer") == positions
    assert not any(models.values())


def test_finalists_are_the_published_ones():
    _, runs = read_series(SHIPPED / "dprnn_finalists.yaml")
    assert [
        [name]
        + [
            float(options[key])
            for key in (
                *("lr", "weight_decay", "max_grad_norm"),
                *("lr_factor", "lr_patience"),
            )
        ]
        for name, _, options in runs
    ] == [
        ["fancy-sweep-62", 0.00125, 2.1e-5, 2.76, 0.863, 3],
        ["rose-sweep-41", 0.00150, 4.4e-5, 2.29, 0.799, 5],
        ["spring-sweep-67", 0.00114, 2.1e-6, 13.86, 0.542, 5],
        ["exalted-sweep-12", 0.00085, 4.8e-5, 3.80, 0.695, 3],
        ["sunny-sweep-2", 0.00082, 4.9e-5, 2.58, 0.768, 2],
    ]
    for _, hparams, options in runs:
        assert hparams.resolve() == HPARAMS / "dprnn.yaml"
        assert options["number_of_epochs"] == "80"
        assert options["early_stopping_patience"] == "15"
        stages = yaml.safe_load(options["curriculum"])
        text = hparams.read_text(encoding="utf-8")
        published = re.search(r"^curriculum:\n((?:  - .*\n)+)", text, re.M)
        published = yaml.safe_load(published[1])
        assert [stage.pop("epoch") for stage in stages] == [1, 4, 10]
        assert [stage.pop("epoch") for stage in published] == [1, 3, 5]
        assert stages == published


# What is started, with a stand-in for train.py


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Let jobs start the stand-in."""
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN)
    monkeypatch.setattr(jobs, "TRAIN", path)
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
    # Other seeds, on a device, from a model's YAML.
    yaml_file = str(HPARAMS / "dprnn.yaml")
    assert main([yaml_file, "--seeds", "3", "--devices", "cuda:1"]) == 0
    arguments = arguments_of(Path("results/dprnn/3"))
    assert arguments[arguments.index("--device") + 1] == "cuda:1"
    assert Path("results/dprnn.md").exists()


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
    assert "seed 2: skipped, finished (it has lr 0.001, not 0.1)\n" in printed
    # More epochs than the 3 of one and the 20 of the other.
    assert main([*command, "--number_of_epochs", "6"]) == 0
    printed = capsys.readouterr().out
    assert "dprnn, seed 1: skipped, early-stopped (it has number" in printed
    assert "dprnn, seed 2: resumed" in printed
    assert "| dprnn | 2 | 2.00 | 1 | 6 | 1.0 | finished |" in printed


def test_a_job_on_each_device(stand_in, tmp_path):
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


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(stand_in, tmp_path, sent):
    program = (
        "import sys, pathlib, run_series\n"
        "from series import jobs\n"
        f"jobs.TRAIN = pathlib.Path({str(stand_in)!r})\n"
        "sys.exit(run_series.main())"
    )
    command = [sys.executable, "-c", program, str(HPARAMS / "dprnn.yaml")]
    command += ["--seeds", "1", "2", "3", "--devices", "cpu", "cpu"]
    with subprocess.Popen(
        [*command, "--sleep", "60"],
        env={**os.environ, "PYTHONPATH": str(TOOL.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        notes = [tmp_path / f"results/dprnn/{n}/process" for n in (1, 2)]
        for _ in range(400):
            if all(note.exists() and note.read_text() for note in notes):
                break
            time.sleep(0.05)
        os.killpg(process.pid, sent)  # as a terminal does
        printed, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert not errors
    for note in notes:
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text()), 0)
    assert printed.count("stopped; the same command goes on") == 2
    assert "| dprnn | 1 | – | – | – | – | interrupted |" in printed
    assert "| dprnn | 3 | – | – | – | – | not started |" in printed
    assert "not started" in (tmp_path / "results/dprnn.md").read_text()


# Mistakes


@pytest.mark.parametrize(
    "text, problem",
    [
        (None, "series.yaml: cannot be read"),
        ("", "series.yaml: give a mapping"),
        ("- a", "series.yaml: give a mapping"),
        ("text", "series.yaml: give a mapping"),
        ("a: [", "series.yaml: is not a series"),
        ("seeds: [1]", "series.yaml: no runs"),
        ("{seeds: [1], runs: []}", "series.yaml: no runs"),
        ("{seeds: [1], run: []}", "unknown key 'run'; did you mean runs?"),
        ("{runs: [a], seeds: [1]}", "series.yaml, run 1: give a mapping"),
        ("runs: [{name: a, hparam: H}]", "'hparam'; did you mean hparams?"),
        ("runs: [{name: a, xyz: H}]", "it has name, hparams, options"),
        ("runs: [{hparams: H}]", "run 1: name None"),
        ("runs: [{name: ../a, hparams: H}]", "run 1: name '../a'"),
        ("runs: [{name: a}]", "run 1: hparams None"),
        ("runs: [{name: a, hparams: no.yaml}]", r"there is no file .*no\.yaml"),
        ("runs: [{name: a, hparams: H, options: 3}]", "run 1: options 3"),
        (
            "runs: [{name: a, hparams: H, options: {seed: 3}}]",
            "run 1: options: seed: give --seeds",
        ),
        (
            "runs: [{name: a, hparams: H}, {name: a, hparams: H}]",
            "two runs have the name a",
        ),
        ("runs: [{name: a, hparams: H}]", "no seeds"),
        ("{runs: [{name: a, hparams: H}], seeds: 4}", "seeds: 4;"),
        ("{runs: [{name: a, hparams: H}], seeds: []}", "seeds: .*give"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, text, problem):
    path = tmp_path / "series.yaml"
    if text is not None:
        path.write_text(re.sub(r"\bH\b", str(HPARAMS / "dprnn.yaml"), text))
    with pytest.raises(SeriesError, match=problem):
        main([str(path)])


@pytest.mark.parametrize("seed", ["x", "-1", "1.5", 1.5, True, None, "", [1]])
def test_bad_seeds_are_named(seed):
    with pytest.raises(SeriesError, match="seeds: .* no whole number"):
        check_seeds([42, seed], "seeds")
    with pytest.raises(SeriesError, match="42 stands there twice"):
        check_seeds([42, "42"], "seeds")


@pytest.mark.parametrize(
    "options, problem",
    [
        (["--seeds", "4x"], "--seeds: '4x'"),
        (["--seed", "4"], "--seed: give --seeds instead"),
        (["--device", "cpu"], "--device: give --devices instead"),
        (["--lr", "1", "--lr", "2"], "--lr: give it once"),
        (["--lr", "1", "2"], "'2': options are given as --name value"),
        (["--lr", "1"], "no seeds; give e.g. --seeds 42"),
    ],
)
def test_mistakes_on_the_command_line_are_named(options, problem):
    with pytest.raises(SeriesError, match=problem):
        main([str(HPARAMS / "dprnn.yaml"), *options])


def test_one_line_and_exit_status_of_a_mistake(tmp_path):
    path = write_series(tmp_path / "series.yaml", [])
    ended = subprocess.run(
        [sys.executable, TOOL, path], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: {path}: no runs")
    assert ended.stderr.count("\n") == 1
    assert not ended.stdout


def test_help():
    ended = subprocess.run(
        [sys.executable, TOOL, "--help"], capture_output=True, text=True
    )
    print(ended.stdout)
    assert ended.returncode == 0
    assert "baselines.yaml" in ended.stdout
    for option in ("--seeds", "--devices", "--output", "--table"):
        assert option in ended.stdout
    assert "(default: results)" in ended.stdout


# Real trainings


REAL_OPTIONS = {
    "precision": "fp32",
    "num_workers": 0,
    "batch_size": 2,
    "valid_batch_size": 4,
    "number_of_epochs": 1,
}


def run_tool(folder, *arguments):
    """Call the tool as a user does."""
    return subprocess.run(
        [sys.executable, TOOL, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def real_series(small_corpus, tmp_path_factory):
    """Train a series; return its folder, command line and process."""
    folder = tmp_path_factory.mktemp("series")
    runs = [
        {
            "name": f"small_{model}",
            "hparams": os.path.relpath(HPARAMS / f"{model}.yaml", folder),
            "options": {**REAL_OPTIONS, **SMALL[model], "lr": 0.002},
        }
        for model in ("convtasnet", "dprnn")
    ]
    write_series(folder / "small.yaml", runs, seeds=[1, 2])
    arguments = ["small.yaml", "--data_folder", small_corpus]
    arguments += ["--devices", "cpu", "cpu", "--lr", "0.003"]
    return folder, arguments, run_tool(folder, *arguments)


def results_of(folder):
    """Read the results of a series: (name, seed) -> result."""
    return {
        (path.parent.parent.name, int(path.parent.name)): json.loads(
            path.read_text()
        )
        for path in (folder / "results").glob("*/*/result.json")
    }


def test_a_series_is_trained(real_series):
    folder, _, process = real_series
    assert process.returncode == 0, process.stdout + process.stderr
    assert not process.stderr
    results = results_of(folder)
    assert sorted(results) == [
        (name, seed)
        for name in ("small_convtasnet", "small_dprnn")
        for seed in (1, 2)
    ]
    for (name, seed), result in results.items():
        assert result["settings"]["seed"] == seed
        assert result["settings"]["lr"] == 0.003
        assert result["settings"]["experiment_name"] in name
        assert result["device"] == "cpu"
        run = folder / "results" / name / str(seed)
        assert "Test, SI-SDR" in (run / "terminal.log").read_text()
        assert f"{name}, seed {seed}: started on cpu" in process.stdout
        assert (
            f"| {name} | {seed} | {result['best_valid_si_sdr']:.2f} | 1 | 1 | "
            "0.0 | finished |"
        ) in process.stdout
    for name in ("small_convtasnet", "small_dprnn"):
        best = [results[name, seed]["best_valid_si_sdr"] for seed in (1, 2)]
        numbers = [*best, statistics.fmean(best), statistics.stdev(best)]
        cells = " | ".join(f"{number:.2f}" for number in numbers)
        assert f"| {name} | {cells} | 1/1, 1/1 | 0.0 |" in process.stdout
    tables = (folder / "results/small.md").read_text()
    assert process.stdout.endswith(tables)
    with (folder / "results/small.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["best_valid_si_sdr"]) for row in rows] == [
        result["best_valid_si_sdr"] for _, result in sorted(results.items())
    ]


def test_what_is_finished_is_not_started_again(real_series):
    folder, arguments, first = real_series
    files = list((folder / "results").glob("*/*/*"))
    before = {path: path.stat().st_mtime_ns for path in files}
    again = run_tool(folder, *arguments)
    assert again.returncode == 0
    assert again.stdout.count("skipped, finished\n") == 4
    assert "started" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in files} == before
    tables = (folder / "results/small.md").read_text()
    assert again.stdout.endswith(tables)
    assert first.stdout.endswith(tables)
    table = run_tool(folder, *arguments, "--table")
    assert table.stdout == f"\n{tables}"


def test_what_is_not_finished_is_resumed_and_mistakes_stay_alone(real_series):
    folder, arguments, _ = real_series
    result = folder / "results/small_dprnn/2/result.json"
    before = json.loads(result.read_text())
    result.unlink()
    series = yaml.safe_load((folder / "small.yaml").read_text())
    bad = {
        "name": "bad",
        "hparams": str(SEPARATION / "hparams/dprnn.yaml"),
        "options": {"learning_rate": 1},
    }
    write_series(folder / "with_bad.yaml", [bad, *series["runs"]], seeds=[2])
    process = run_tool(folder, "with_bad.yaml", *arguments[1:])
    assert process.returncode == 1
    assert not process.stderr
    failed = re.findall("^bad, seed 2: failed; (.*)$", process.stdout, re.M)
    assert len(failed) == 1
    assert failed[0].startswith("Error: --learning_rate: ")
    assert "small_convtasnet, seed 2: skipped, finished" in process.stdout
    assert "small_dprnn, seed 2: resumed on cpu" in process.stdout
    assert "small_dprnn, seed 2: finished" in process.stdout
    after = json.loads(result.read_text())
    assert after["test"] == before["test"]
    assert after["seconds"] == before["seconds"]  # nothing was trained
    assert "| bad | 2 | – | – | – | – | not started |" in process.stdout
