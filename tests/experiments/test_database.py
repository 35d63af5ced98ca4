"""Orion's database: its place, its trials, and what killed hunts leave."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import orion_repairs
import pytest
from experiments import (
    database as module,
    hunting,
)
from experiments.database import Database
from filelock import FileLock
from orion.client import build_experiment
from orion.core.io.database import pickleddb
from orion.core.io.experiment_builder import ExperimentBuilder
from orion.core.worker.producer import Producer
from orion.storage.base import setup_storage
from polsess.errors import UserError
from small_trials import arguments_of_run, write_database, write_trial
from sweep import main


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Make a database with a trial."""
    path = tmp_path_factory.mktemp("orion") / "orion.pkl"
    database = {"type": "pickleddb", "host": str(path)}
    experiment = build_experiment(
        "dprnn-stage3b",
        # With the slash that those of the command line have.
        space={"/lr": "uniform(0, 1)"},
        algorithm={"random": {"seed": 1}},
        storage={"type": "legacy", "database": database},
    )
    results = [{"name": "objective", "type": "objective", "value": -3.5}]
    experiment.insert({"/lr": 0.1}, results=results)
    return path


def test_a_file_with_the_storage(database, tmp_path):
    config = tmp_path / "orion.yaml"
    config.write_text(
        f"storage: {{database: {{type: pickleddb, host: {database}}}}}\n"
    )
    for found in (Database(database), Database(Path("no.pkl"), config)):
        (trial,) = found.trials("dprnn-stage3b")
        assert trial.params == {"/lr": 0.1}
        assert found.experiment("dprnn-stage3") is None
        assert found.trials("dprnn-stage3") == []


def test_mistakes_are_named(database, tmp_path, monkeypatch):
    def problem(*where):
        with pytest.raises(UserError) as raised:
            Database(*where)
        return str(raised.value)

    Path("a.pkl").write_text("hello")
    assert "a.pkl: cannot be used as Ori" in problem(Path("a.pkl"))
    Path("a.yaml").write_text("a: [")
    assert "a.yaml: no storage" in problem(database, Path("a.yaml"))
    assert Database(Path("no.pkl")).trials("dprnn-stage3") == []
    assert not Path("no.pkl").exists()
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    with FileLock(f"{database}.lock"):
        assert "not acquire lock" in problem(database)


def test_a_soft_lock_of_a_killed_process_goes(database, monkeypatch):
    # As Orion does on tmpfs, XFS, Btrfs, overlays and NFS.
    monkeypatch.setattr(pickleddb, "local_file_systems", [])
    monkeypatch.setattr(orion_repairs, "STALE_SECONDS", 0.3)
    lock = Path(f"{database}.lock")
    lock.unlink(missing_ok=True)
    program = "import os, sys, filelock; a = filelock.SoftFileLock(sys.argv[1])"
    program += "; a.acquire(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", program, lock], check=False)
    # Of this machine, of another, and of a copy from a file system without.
    for left in (lock.read_text(), "1\nelsewhere\n", ""):
        lock.write_text(left)
        assert len(Database(database).trials("dprnn-stage3b")) == 1
        assert not lock.exists()


def test_an_overlay_has_other_devices_for_its_files(monkeypatch, tmp_path):
    lock = f"{tmp_path}/orion.pkl.lock"
    mounts = {"/", str(tmp_path), lock}
    monkeypatch.setattr(pickleddb.os.path, "ismount", mounts.__contains__)
    find = pickleddb._find_mount_point
    assert find(lock) == str(tmp_path)


def write_search(path, name, statuses):
    """Write a database, and beside it the folders of its trials."""
    names = write_database(path, name, statuses)
    for number, trial in enumerate(Database(path).trials(name)):
        if trial.id in names and trial.status == "completed":
            objective = -trial.objective.value
            parameters = {n.lstrip("/"): v for n, v in trial.params.items()}
            folder = path.parent / name
            folder = write_trial(folder, number, parameters, objective)
            folder.rename(folder.with_name(trial.id))
    return names


def write_open_trial(path, name, trial):
    """Write the folder of a trial that has not ended; return its parameters."""
    (found,) = [t for t in Database(path).trials(name) if t.id == trial]
    parameters = {n.lstrip("/"): value for n, value in found.params.items()}
    folder = path.parent / name / "trials" / trial
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(parameters))
    return parameters


@pytest.fixture
def hunts_end(monkeypatch):
    """Give a function that says how hunts end, without one."""

    def end(*endings):
        monkeypatch.setattr(hunting, "hunt", lambda *_: list(endings))

    return end


IDLE = (1, "LazyWorkers: Workers have been idle (exit status 1, see a.log)")


def test_enough_trials_are_enough_however_a_hunt_ends(
    tmp_path, capsys, hunts_end
):
    write_search(tmp_path / "out/dprnn.pkl", "dprnn-stage1", ["completed"] * 3)
    hunts_end((0, "Hints"), IDLE)
    assert main(arguments_of_run(tmp_path, max_trials=3)) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"3 of 3 trials. A hunt failed meanwhile: {IDLE[1]}"
    told = "^3 of 4 trials; the same command goes on. The last words: Lazy"
    with pytest.raises(UserError, match=told):
        main(arguments_of_run(tmp_path, max_trials=4))


def test_a_lock_that_a_killed_hunt_has_left_is_released(
    tmp_path, monkeypatch, capsys, hunts_end
):
    path = tmp_path / "out/dprnn.pkl"
    write_search(path, "dprnn-stage1", ["completed"] * 2)
    write_database(path, "dprnn-stage2", ["completed"])
    monkeypatch.setattr(module, "STALE_SECONDS", 0.3)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.1)
    storage = setup_storage(
        {"type": "legacy", "database": {"type": "pickleddb", "host": str(path)}}
    )
    ids = {e["name"]: e["_id"] for e in storage.fetch_experiments({})}

    def states():
        return [storage.get_algorithm_lock_info(uid=i) for i in ids.values()]

    before = states()
    # As by a process that is killed then: nothing ends it.
    held = [storage.acquire_algorithm_lock(uid=i) for i in ids.values()]
    for lock in held:
        lock.__enter__()
    hunts_end((0, "Hints"))
    assert main(arguments_of_run(tmp_path, max_trials=2)) == 0
    assert "Released the lock" in capsys.readouterr().out
    one, two = states()
    # Only the one of the stage that is run; what the algorithm knows is kept.
    assert (one.locked, two.locked) == (0, 1)
    assert repr(one.state) == repr(before[0].state)


def test_the_lock_of_hunts_that_live_stays(tmp_path, monkeypatch, capsys):
    path = tmp_path / "dprnn.pkl"
    write_database(path, "dprnn-stage1", [])
    opened = Database(path)
    experiment = opened.experiment("dprnn-stage1")
    held = [opened.storage.acquire_algorithm_lock(uid=1)]
    held[0].__enter__()
    seen = []

    def sleep(seconds):
        """Let the hunt release its lock meanwhile."""
        held[-1].__exit__(None, None, None)
        seen.append(seconds)
        if len(seen) < 6:  # taken by others
            held.append(opened.storage.acquire_algorithm_lock(uid=1))
            held[-1].__enter__()

    monkeypatch.setattr(module.time, "sleep", sleep)
    opened._release_stale_lock(experiment)
    printed = capsys.readouterr().out
    assert "Waiting for the hunt" in printed
    assert "Released" not in printed
    assert len(seen) == 6


@pytest.fixture
def known():
    """Give a function: the statuses in the database, and to the algorithm."""

    def read(path):
        opened = Database(path)
        builder = ExperimentBuilder(opened.storage)
        experiment = builder.load("dprnn-stage1", mode="w")
        with experiment.acquire_algorithm_lock() as algorithm:
            told = {t.id: t.status for t in algorithm.unwrapped.registry}
        return {t.id: t.status for t in opened.trials("dprnn-stage1")}, told

    return read


def test_results_that_a_killed_hunt_did_not_report_reach_the_algorithm(
    tmp_path, monkeypatch, hunts_end, known
):
    path = tmp_path / "out/dprnn.pkl"
    # As by a hunt that is killed when the database knows, before Orion has
    # told the algorithm.
    with monkeypatch.context() as patch:
        patch.setattr(Producer, "observe", lambda *_: None)
        one, two = write_search(path, "dprnn-stage1", ["completed", "broken"])
    three = write_search(path, "dprnn-stage1", ["completed"])[-1]
    assert known(path)[1] == {one: "new", two: "new", three: "completed"}
    hunts_end((0, "Hints"))
    assert main(arguments_of_run(tmp_path, max_trials=2)) == 0
    told = {one: "completed", two: "broken", three: "completed"}
    assert known(path) == (told, told)


def test_a_lost_or_damaged_or_older_database_loses_nothing(
    tmp_path, capsys, hunts_end, known
):
    path = tmp_path / "out/dprnn.pkl"
    write_search(path, "dprnn-stage1", ["completed", "interrupted"])
    older = path.read_bytes()
    more = ["completed", "completed", "interrupted"]  # the first is that one
    *_, last = write_search(path, "dprnn-stage1", more)
    parameters = write_open_trial(path, "dprnn-stage1", last)
    command = arguments_of_run(tmp_path, max_trials=3)
    hunts_end((0, "Hints"))
    full, _ = known(path)
    counts = {"completed": 3, "interrupted": 1}
    assert Counter(full.values()) == counts
    ended = {name: s for name, s in full.items() if s == "completed"}
    found = Database(path).trials("dprnn-stage1")
    objectives = {trial.id: trial.objective for trial in found}

    def check():
        assert main(command) == 0
        printed = capsys.readouterr().out
        assert "\n3 of 3 trials\n" in printed
        statuses, told = known(path)
        assert statuses == full
        assert ended.items() <= told.items()
        for trial in Database(path).trials("dprnn-stage1"):
            assert trial.objective == objectives[trial.id]
            if trial.id == last:
                assert trial.params == {
                    f"/{n}": v for n, v in parameters.items()
                }
        return printed

    whole = path.read_bytes()
    for content in (None, b"", older, whole[: len(whole) // 2]):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        if content and content != older:
            with pytest.raises(UserError, match="`sweep.py rebuild` mends it"):
                main(command)
            main(["rebuild", *command[1:3], *command[5:]])
        assert "trials from their files" in check()
    assert Path(f"{path}.damaged").read_bytes() == content
    assert "from their files" not in check()


def test_a_rebuilt_experiment_knows_what_the_files_say(
    tmp_path, hunts_end, known
):
    path = tmp_path / "out/dprnn.pkl"
    statuses = ["completed", "completed", "broken"]
    one, two, three = write_search(path, "dprnn-stage1", statuses)
    (other,) = write_search(path, "dprnn-stage2", ["completed"])
    command = arguments_of_run(tmp_path, max_trials=2)
    hunts_end((0, "Hints"))
    folder = tmp_path / "out/dprnn-stage1/trials" / two
    (folder / "trial.json").unlink()
    # It does not count, as its file does not.
    with pytest.raises(UserError, match="1 of 2 trials, 1 crashed"):
        main(command)
    assert known(path)[0].keys() == {one, three}
    rebuild = ["rebuild", *command[1:3], *command[5:]]
    main(rebuild)
    assert known(path) == ({one: "completed"}, {one: "completed"})
    (trial,) = Database(path).trials("dprnn-stage2")
    assert (trial.id, trial.status) == (other, "completed")
    with pytest.raises(UserError, match="no trials yet"):
        main([*rebuild, "--output", "elsewhere"])
