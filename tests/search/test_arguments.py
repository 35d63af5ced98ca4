"""``--sweep FILE``: what becomes of the command line, and what contradicts."""

import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
from orion.core.io.orion_cmdline_parser import OrionCmdlineParser
from orion.core.utils.working_dir import SetupWorkingDir
from polsess.errors import UserError
from polsess.search.arguments import read_sweep_arguments
from polsess.search.sweep import SWEEPS, decode_path, read_sweep_file
from polsess.training.settings import parse_arguments
from small_sweeps import VALUES, act_as_orion, trial_arguments, write_sweep


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path / "small.yaml")


@pytest.fixture
def orion(monkeypatch, tmp_path):
    """Act as Orion."""
    act_as_orion(monkeypatch, tmp_path / "results")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def options_of(arguments):
    _, run_opts, overrides = parse_arguments(arguments)
    return {n: run_opts[n] for n in run_opts.overridden_args} | overrides


def test_the_files_settings_become_options(sweep, orion):
    # The same value is no contradiction.
    given = trial_arguments(sweep, "corpus", "out", train_size=6)
    arguments, trial = read_sweep_arguments(given)
    options = options_of(arguments)
    assert options["train_size"] == 6
    assert options["number_of_epochs"] == 4
    assert options["seed"] == 42
    assert options["precision"] == "fp32"
    assert options["curriculum"][1]["epoch"] == 2
    assert options["output_folder"] == "out/trials/a1"
    assert options["manifest_folder"] == "out/manifests"
    assert {name: options[name] for name in VALUES} == VALUES
    assert trial.parameters == VALUES
    assert "sweep" not in options


def test_without_folder_and_size(tmp_path, orion):
    """Results go to the experiment's folder; null means all mixtures."""
    sweep = write_sweep(tmp_path / "all.yaml", train_size=None)
    arguments, _ = read_sweep_arguments(trial_arguments(sweep, "corpus", None))
    options = options_of(arguments)
    assert options["output_folder"] == "results/sweeps/small/trials/a1"
    assert options["train_size"] is None


def test_outside_orion_it_trains_once_in_the_given_folder(sweep):
    given = trial_arguments(sweep, "corpus", None, output_folder="here")
    arguments, trial = read_sweep_arguments(given)
    assert trial is None
    assert options_of(arguments)["output_folder"] == "here"
    with pytest.raises(UserError, match="--sweep_folder"):
        read_sweep_arguments(trial_arguments(sweep, "corpus", "out"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 4}, r"--train_size 4: \S+small\.yaml says 6"),
        ({"seed": 43}, r"--seed 43: \S+small\.yaml says 42"),
        ({"precision": "bf16"}, r"--precision 'bf16': .* says 'fp32'"),
        ({"lr": 0.1}, r"--lr 0\.1: \S+small\.yaml has "),
        ({"lr_patience": 2.5}, r"--lr_patience 2\.5: .* has "),
        # As Orion has it when the experiment was begun without the parameter.
        ({"lr": "orion~uniform(1, 2)"}, r"--lr 'orion~.*: .* has "),
        ({"lr": None}, r"--lr is missing: \S+small\.yaml has loguni"),
        ({"max_grad_norm": None}, r"--max_grad_norm is missing"),
        ({"max_grad_norm": 21}, r"--max_grad_norm 21\.0: .* has "),
        ({"output_folder": "x"}, r"--output_folder: .*--sweep_folder"),
        ({"test_only": ""}, r"--test_only: a trial"),
        ({"sweep": "none.yaml"}, r"none\.yaml: cannot be read"),
        ({"sweep": None}, r"give --sweep FILE"),
    ],
)
def test_contradictions_are_named(sweep, orion, options, message):
    arguments = trial_arguments(sweep, "corpus", "out", **options)
    arguments = [word for word in arguments if word]
    with pytest.raises(UserError, match=message):
        read_sweep_arguments(arguments)


def test_another_models_file_is_an_error(sweep, orion):
    arguments = trial_arguments(sweep, "corpus", "out")
    arguments[0] = "hparams/sepformer.yaml"
    with pytest.raises(UserError, match=r"is for dprnn"):
        read_sweep_arguments(arguments)


def test_a_temporary_working_folder_is_refused(
    sweep, orion, monkeypatch, tmp_path
):
    # As Orion 0.2.7 makes it.
    class Experiment:
        name, version, working_dir = "small", 1, ""

    experiment = Experiment()
    monkeypatch.chdir(tmp_path)
    with SetupWorkingDir(experiment) as folder:
        monkeypatch.setenv("ORION_WORKING_DIR", f"{folder}/a1")
        with pytest.raises(UserError, match="--working-dir FOLDER"):
            read_sweep_arguments(trial_arguments(sweep, "corpus", "out"))


@pytest.mark.parametrize("name", ["a {lr} ~b", "Run: #1", "{trial.id}\udcbf"])
def test_folders_whose_names_orion_would_change(name, tmp_path):
    sweep = read_sweep_file(SWEEPS / "dprnn_stage1_hpopt.yaml")
    sweep = replace(sweep, path=tmp_path / f"{name}.yaml")
    command = sweep.hunt_command(tmp_path / name, tmp_path / "out")
    parser = OrionCmdlineParser(allow_non_existing_files=True)
    parser.parse(command[command.index("python") :])
    assert parser.priors.keys() == {f"/{name}" for name in sweep.space}
    words = parser.format(trial=SimpleNamespace(params={}))
    words = list(map(decode_path, words))
    assert words[words.index("--data_folder") + 1] == str(tmp_path / name)
    assert words[words.index("--sweep") + 1] == str(sweep.path)
