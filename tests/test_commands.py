"""How commands end: one line for a mistake, statuses, SIGTERM."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from polsess.commands import SPIN, make_parser, read_options, run, write_options
from polsess.errors import UserError
from small_disks import small_disk
from small_models import SEPARATION, small_arguments
from small_runs import assert_same_weights
from small_sweeps import act_as_orion

PATH = {"PYTHONPATH": str(SEPARATION)}
LIBRARY = SEPARATION.parent
# The first of the packages that train.py loads.
SLOW_PACKAGE = """
import os, signal, time
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""


@pytest.mark.parametrize("by_orion, status", [(True, 130), (False, -15)])
def test_sigterm_among_the_imports(tmp_path, monkeypatch, by_orion, status):
    monkeypatch.delenv("ORION_RESULTS_PATH", raising=False)
    if by_orion:
        act_as_orion(monkeypatch, tmp_path / "results")
    (tmp_path / "pandas.py").write_text(SLOW_PACKAGE)
    process = subprocess.run(
        [sys.executable, str(SEPARATION / "train.py")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=50,
    )
    assert process.returncode == status
    assert not process.stderr


OPENMP = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.fixture
def openmp(monkeypatch, request):
    """Leave OpenMP's settings to the test's parameter."""
    for name in OPENMP:
        monkeypatch.delenv(name, raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    return request.param


SETTINGS = [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}]


@pytest.mark.parametrize("openmp", SETTINGS[:2], indirect=True)
@pytest.mark.parametrize(
    "command",
    ["train", "evaluate", "separate", "export", "asr_eval", "transcribe"],
)
def test_openmp_is_set_before_torch_is_loaded(tmp_path, command, openmp):
    (tmp_path / "torch.py").write_text(
        "import os\nprint(os.environ.get('GOMP_SPINCOUNT'))\nos._exit(0)"
    )
    folder = SEPARATION
    if not (folder / f"{command}.py").exists():
        folder = SEPARATION.parents[2] / "tools"
    process = subprocess.run(
        [sys.executable, str(folder / f"{command}.py")],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{LIBRARY}"},
        capture_output=True,
        timeout=50,
    )
    assert process.stdout.decode().split() == ["None" if openmp else SPIN]


WORKER = """
import os, sys
import polsess.commands
from polsess.worker_pool import WorkerPool

with WorkerPool(1, []) as pool:
    print(*pool.map(os.getenv, sys.argv[1:]))
"""


@pytest.mark.parametrize("openmp", SETTINGS, indirect=True)
def test_scoring_processes_inherit_what_openmp_is_told(openmp, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    process = subprocess.run(
        [sys.executable, "-c", WORKER, *OPENMP, "OMP_NUM_THREADS"],
        env={**os.environ, "PYTHONPATH": str(LIBRARY)},
        capture_output=True,
        timeout=50,
    )
    spin = {} if openmp else {"GOMP_SPINCOUNT": SPIN}
    expected = [(openmp | spin).get(name, "None") for name in OPENMP]
    assert process.stdout.decode().split() == [*expected, "1"]


TRAIN = """
import sys
import train
import speechbrain as sb

sb.utils.logger.get_environment_description = str  # slow
train.main(sys.argv[1:])
"""


def test_results_do_not_depend_on_how_threads_wait(small_corpus, tmp_path):
    others = {n: v for n, v in os.environ.items() if n not in OPENMP}
    others |= {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(SEPARATION)}
    folders = [tmp_path / "by_default", tmp_path / "passive"]
    options = {"number_of_epochs": 1, "train_size": 4, "save_audio": 0}
    for own, folder in zip(
        ({}, {"OMP_WAIT_POLICY": "PASSIVE"}), folders, strict=True
    ):
        arguments = small_arguments(
            "convtasnet",
            **{"data_folder": small_corpus, "output_folder": folder, **options},
        )
        subprocess.run(
            [sys.executable, "-c", TRAIN, *arguments],
            env={**others, **own},
            check=True,
        )
    assert_same_weights(*folders)
    first, second = ((f / "test.csv").read_bytes() for f in folders)
    assert first == second


FILLING = """
import logging, sys
from polsess.commands import run

def fill(arguments):
    logging.basicConfig(filename=arguments[0], level="DEBUG")
    print("some output")
    with open(arguments[0], "ab") as file:
        file.write(bytes(2**20))

run(fill)
"""


@pytest.mark.parametrize("disk", ["/dev/full", "mounted"])
def test_a_trial_stays_open_when_nothing_can_be_written(
    tmp_path, monkeypatch, disk
):
    act_as_orion(monkeypatch, tmp_path / "results")
    with contextlib.ExitStack() as stack:
        path = "/dev/full"
        if disk == "mounted":
            stack.enter_context(small_disk(tmp_path / "disk", 64))
            path = str(tmp_path / "disk/log")
        log = stack.enter_context(open(path, "ab"))
        command = [sys.executable, "-c", FILLING, path]
        process = subprocess.run(
            command, stdout=log, stderr=log, env={**os.environ, **PATH}
        )
    assert process.returncode == 130


def _interrupted(arguments):
    """Stand in for a script's main function, at Ctrl-C."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("rank, told", [("0", 1), ("1", 0)])
def test_ctrl_c_is_one_line_of_one_process(rank, told, monkeypatch, capsys):
    monkeypatch.delenv("ORION_RESULTS_PATH", raising=False)
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as ended:
        run(_interrupted)
    assert ended.value.code == 130
    line = "Interrupted. The same command goes on.\n"
    assert capsys.readouterr().err == line * told


@pytest.mark.parametrize(
    "error, line",
    [
        (UserError("a.yaml: bad"), "Error: a.yaml: bad\n"),
        # As a loader's process hands it over.
        (
            UserError('Traceback\n File "x"\nUserError: b.wav: bad\n'),
            "Error: b.wav: bad\n",
        ),
        (FileNotFoundError(2, "No such file", "c"), "No such file: 'c'\n"),
    ],
)
def test_a_mistake_is_one_line(error, line, monkeypatch, capsys):
    def fail(arguments):
        raise error

    monkeypatch.delenv("ORION_RESULTS_PATH", raising=False)
    with pytest.raises(SystemExit) as ended:
        run(fail)
    assert ended.value.code == 1
    output = capsys.readouterr().err
    assert output.endswith(line) and output.count("\n") == 1


ODD = os.fsdecode(b"za\xbf \xc3\xb3 \xe2\x80\x93")
SHOW = """
import sys
from pathlib import Path
from polsess.commands import run
from polsess.files import write_atomically

def main(arguments):
    print(arguments[0], "\\u2013")
    write_atomically(Path(arguments[0], "text"), arguments[0] + "\\u2013")

run(main)
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin2"},
    ],
)
def test_names_and_terminals_that_are_no_utf8(tmp_path, environment):
    (tmp_path / ODD).mkdir()
    script = tmp_path / "show.py"
    script.write_text(SHOW)
    process = subprocess.run(
        [sys.executable, script, ODD],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr
    latin = "latin2" in environment.values()
    shown = rb"za\udcbf %b \u2013" % (b"\xf3" if latin else rb"\xf3")
    assert process.stdout == shown + rb" \u2013" + b"\n"
    text = (tmp_path / ODD / "text").read_text(encoding="utf-8")
    assert text == "za\\xbf ó ––"


def test_home_folders_in_options(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    parser = make_parser(None)
    parser.add_argument("--output", type=Path)
    assert parser.parse_args(["--output=~/x"]).output == Path("/home/me/x")


def test_options_are_written_as_they_are_read():
    options = {"lr": "1", "x": "--y", "name": "a=b #", "flag": None, "m": "-1"}
    assert read_options(write_options(options)) == options
