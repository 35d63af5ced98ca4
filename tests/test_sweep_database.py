"""What Orion's database says of a stage, and what is made of it."""

import pytest
from experiments import (
    database,
    hunting as running,
)
from experiments.database import Database
from experiments.stages import find_stages
from orion.core.io.experiment_builder import ExperimentBuilder
from orion.core.worker.producer import Producer
from orion.storage.base import setup_storage
from polsess.errors import UserError
from small_trials import write_database, written_stage
from sweep import main


def arguments_of_run(tmp_path, **experiment):
    """Make the command line that runs a stage of that many trials."""
    own = written_stage(tmp_path / "own", experiment=experiment)
    command = ["run", "dprnn", "stage1", "--data_folder", str(tmp_path)]
    return [*command, "--sweeps", str(own), "--output", "out"]


def write_search(path, name, statuses):
    """Write a database, and beside it the folders of its trials."""
    trials = write_database(path, name, statuses)
    for trial in trials:
        folder = path.parent / name / "trials" / trial
        folder.mkdir(parents=True)
        (folder / "trial.json").write_text("{}")
    return trials


@pytest.fixture
def hunts_end(monkeypatch):
    """Give a function that says how hunts end, without one."""

    def end(*endings):
        monkeypatch.setattr(running, "hunt", lambda *_: list(endings))

    return end


IDLE = (1, "LazyWorkers: Workers have been idle (exit status 1, see a.log)")


def test_enough_trials_are_enough_however_a_hunt_ends(
    tmp_path, capsys, hunts_end
):
    write_search(tmp_path / "out/dprnn.pkl", "dprnn-stage1", ["completed"] * 3)
    hunts_end((0, "Hints"), IDLE)
    assert main(arguments_of_run(tmp_path, max_trials=3)) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("3 trials, as many as max_trials. A hunt failed")
    assert last.endswith(IDLE[1])
    with pytest.raises(UserError) as raised:
        main(arguments_of_run(tmp_path, max_trials=4))
    told = "3 of 4 trials; once that is put right the same command goes on."
    assert str(raised.value) == f"orion hunt failed: {IDLE[1]}. {told}"


def test_a_hunt_that_fails_before_there_is_a_database(tmp_path, hunts_end):
    hunts_end((1, "there is no such file."))
    with pytest.raises(UserError, match=r"no such file\. 0 of 91 trials;"):
        main(arguments_of_run(tmp_path))


def test_a_lock_that_a_killed_hunt_has_left_is_released(
    tmp_path, monkeypatch, capsys, hunts_end
):
    path = tmp_path / "out/dprnn.pkl"
    write_search(path, "dprnn-stage1", ["completed"] * 2)
    write_database(path, "dprnn-stage2", ["completed"])
    monkeypatch.setattr(database, "STALE_SECONDS", 0.3)
    monkeypatch.setattr(database, "LOOK_SECONDS", 0.1)
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


@pytest.mark.parametrize("ends", ["released", "taken by others"])
def test_the_lock_of_hunts_that_live_stays(tmp_path, monkeypatch, capsys, ends):
    path = tmp_path / "dprnn.pkl"
    write_database(path, "dprnn-stage1", [])
    opened = Database(path)
    (stage,) = [s for s in find_stages("dprnn") if s.stage == "stage1"]
    held = [opened.storage.acquire_algorithm_lock(uid=1)]
    held[0].__enter__()
    now = 0.0
    monkeypatch.setattr(database.time, "monotonic", lambda: now)
    seen = []

    def sleep(seconds):
        """Let half the time pass, in which the hunt releases its lock."""
        nonlocal now
        now += database.STALE_SECONDS / 2
        held[-1].__exit__(None, None, None)
        seen.append(ends)
        if ends == "taken by others" and len(seen) < 6:
            held.append(opened.storage.acquire_algorithm_lock(uid=1))
            held[-1].__enter__()

    monkeypatch.setattr(database.time, "sleep", sleep)
    opened.release_stale_lock(stage)
    printed = capsys.readouterr().out
    assert "Waiting for the hunt" in printed
    assert "Released" not in printed
    assert len(seen) == (6 if ends == "taken by others" else 1)


def test_results_that_a_killed_hunt_did_not_tell_reach_the_algorithm(
    tmp_path, monkeypatch, hunts_end
):
    path = tmp_path / "out/dprnn.pkl"
    # As by a hunt that is killed when the database knows, before Orion has
    # told the algorithm.
    with monkeypatch.context() as patch:
        patch.setattr(Producer, "observe", lambda *_: None)
        untold = write_search(path, "dprnn-stage1", ["completed", "broken"])
    told = write_search(path, "dprnn-stage1", ["completed"])

    def known():
        opened = Database(path).storage
        builder = ExperimentBuilder(opened)
        experiment = builder.load("dprnn-stage1", mode="w")
        with experiment.acquire_algorithm_lock() as algorithm:
            return {t.id: t.status for t in algorithm.unwrapped.registry}

    one, two = untold
    assert known() == {one: "new", two: "new", told[0]: "completed"}
    hunts_end((0, "Hints"))
    assert main(arguments_of_run(tmp_path, max_trials=2)) == 0
    assert known() == {one: "completed", two: "broken", told[0]: "completed"}


def test_a_damaged_database_is_named(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/dprnn.pkl").write_bytes(b"no pickle")
    with pytest.raises(UserError, match=r"dprnn\.pkl: cannot be used as Orion"):
        main(["status", "dprnn", "--output", "out"])
