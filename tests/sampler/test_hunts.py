"""Hunts with the sampler, as Orion runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from orion.client import build_experiment
from small_samplers import BOTH, SPACE, completed, make, run

SOURCE = Path(__file__).parents[2] / "recipes/PolSESS/sweeps/sampler"
OPTIONS = {"seed": 42, "n_startup_trials": 3}
# A trial of the command line: reports x, or crashes at 3.
SCRIPT = """
import json, os, sys
x = float(sys.argv[-1])
open("calls.txt", "a").write(f"{x}\\n")
if x == 3:
    sys.exit("crash")
result = [{"name": "objective", "type": "objective", "value": x}]
json.dump(result, open(os.environ["ORION_RESULTS_PATH"], "w"))
"""


@BOTH
def test_a_hunt_suggests_what_the_algorithm_does(name, tmp_path):
    """Three trials run at a time: Orion hands the pending ones over."""
    algorithm = make(SPACE, name, seed=8)
    client = build_experiment(
        name,
        space=SPACE,
        algorithm={name: {"seed": 8}},
        working_dir=str(tmp_path),
        storage={"type": "legacy", "database": {"type": "ephemeraldb"}},
    )
    running = []
    for number in range(18):
        running.append((algorithm.suggest(1)[0], client.suggest(pool_size=3)))
        assert running[-1][0].params == running[-1][1].params
        if number >= 2:
            alone, hunted = running.pop(0)
            value = alone.params["factor"]
            algorithm.observe([completed(alone, value)])
            client.observe(hunted, value)
    for _, hunted in running:
        client.release(hunted)


def start_hunt(folder, prior, max_trials):
    """Start `orion hunt` on the script, with a database in the folder."""
    folder.mkdir(exist_ok=True)
    Path(folder, "script.py").write_text(SCRIPT)
    configuration = {
        "algorithm": {"optunagp": OPTIONS},
        "storage": {
            "type": "legacy",
            "database": {"type": "pickleddb", "host": str(folder / "db.pkl")},
        },
    }
    # JSON is YAML.
    Path(folder, "sweep.yaml").write_text(json.dumps(configuration))
    command = [
        str(Path(sys.executable).with_name("orion")),
        *("hunt", "-n", "tiny", "--config", "sweep.yaml"),
        *("--exp-max-trials", str(max_trials), "--exp-max-broken", "2"),
        *(sys.executable, "-SE", "script.py", f"--x~{prior}"),
    ]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def values_tried(folder, *hunts):
    """Wait for hunts to end well; returns what was tried, in order."""
    for process in hunts:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
    return Path(folder, "calls.txt").read_text().split()


def test_a_hunt_goes_on_as_if_it_had_not_ended(tmp_path):
    prior = "uniform(0, 1)"
    values_tried(tmp_path, start_hunt(tmp_path, prior, 2))
    tried = values_tried(tmp_path, start_hunt(tmp_path, prior, 6))
    algorithm = make({"x": prior}, "optunagp", **OPTIONS)
    alone = run(algorithm, 6, lambda params: params["x"])
    assert list(map(float, tried)) == [params["x"] for params in alone]


def test_two_hunts_exhaust_a_tiny_space(tmp_path):
    prior = "uniform(1, 6, discrete=True)"
    hunts = [start_hunt(tmp_path, prior, 100) for _ in range(2)]
    tried = values_tried(tmp_path, *hunts)
    assert sorted(map(float, tried)) == [1, 2, 3, 4, 5, 6]
