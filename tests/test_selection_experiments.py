"""Trials out of Orion's database."""

from pathlib import Path

import pytest
from experiments.trials import describe_storage, read_experiments
from filelock import FileLock
from orion.client import build_experiment
from polsess.errors import UserError
from select_configs import main

RESULTS = {
    # learning rate: negative SI-SDR, stopped, failed
    0.1: (-3.5, 0, 0),
    0.2: (-4.25, 0, 0),
    0.3: (-9.0, 1, 0),
    0.4: (100.0, 0, 1),
    0.5: (float("nan"), 0, 0),
}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Make a database with two experiments, as hunts leave them."""
    path = tmp_path_factory.mktemp("orion") / "orion.pkl"
    for name, count in (("dprnn-stage3a", 5), ("dprnn-stage3b", 1)):
        experiment = build_experiment(
            name,
            # With the slash that those of the command line have.
            space={"/lr": "uniform(0, 1)", "/patience": "uniform(1, 5)"},
            algorithm={"random": {"seed": 1}},
            storage={
                "type": "legacy",
                "database": {"type": "pickleddb", "host": str(path)},
            },
        )
        for lr, (objective, stopped, failed) in list(RESULTS.items())[:count]:
            results = [
                {"name": "objective", "type": "objective", "value": objective},
                {"name": "stopped", "type": "statistic", "value": stopped},
                {"name": "failed", "type": "statistic", "value": failed},
            ]
            parameters = {"/lr": lr, "/patience": 2.0}
            experiment.insert(parameters, results=results)
        if count > 1:
            experiment.insert({"/lr": 0.6, "/patience": 3.0})
            running, broken = (
                experiment.insert({"/lr": lr, "/patience": 3.0}, reserve=True)
                for lr in (0.7, 0.8)
            )
            experiment.release(broken, "broken")
            # As if its worker had been killed: the trial stays as it is.
            experiment._pacemakers.pop(running.id).stop()
    return path


def test_what_orion_knows_of_the_trials(database):
    trials = read_experiments(["dprnn-stage3a"], storage=database)
    assert trials.parameters == ["lr", "patience"]
    table = trials.table.sort_values("lr").reset_index(drop=True)
    assert list(table["lr"]) == pytest.approx([n / 10 for n in range(1, 9)])
    assert list(table["status"]) == [
        *("finished", "finished", "stopped", "failed"),
        *("failed", "interrupted", "running", "failed"),
    ]
    assert list(table["objective"][:4]) == [3.5, 4.25, 9.0, -100.0]
    assert set(table["sweep"]) == {"dprnn-stage3a"}
    assert all(name.startswith("dprnn-stage3a-") for name in table["name"])
    assert "Finished without a finite objective" in trials.notes[0]
    assert list(trials.pool["objective"]) == [4.25, 3.5]


def test_several_experiments_and_a_file_with_the_storage(database, tmp_path):
    config = tmp_path / "orion.yaml"
    config.write_text(
        f"storage: {{database: {{type: pickleddb, host: {database}}}}}\n"
    )
    command = ["--experiment", "dprnn-stage3a", "dprnn-stage3b", "--output"]
    main([*command, "one", "--storage", str(database)])
    main([*command, "two", "--storage_config", str(config)])
    summary = Path("one/summary.md").read_text()
    assert Path("two/summary.md").read_text() == summary
    assert "| dprnn-stage3b | 1 | 1 | 0 | 0 | 0 | 0 | 3.50 | 3.50 |" in summary
    assert "| all | 9 | 3 | 1 | 3 | 1 | 1 | 4.25 | 3.75 |" in summary


def test_mistakes_are_named(database, tmp_path, monkeypatch):
    def problem(**options):
        with pytest.raises(UserError) as raised:
            read_experiments(["dprnn-stage3"], **options)
        return str(raised.value)

    assert "has no experiment dprnn-stage3;" in problem(storage=database)
    assert "no.pkl: there is no such" in problem(storage=Path("no.pkl"))
    assert not Path("no.pkl").exists()
    Path("a.pkl").write_text("hello")
    assert "a.pkl: cannot be read as Ori" in problem(storage=Path("a.pkl"))
    Path("a.yaml").write_text("storage: {}")
    assert "a.yaml: no storage" in problem(config=Path("a.yaml"))
    Path("a.yaml").write_text("a: [")
    assert "a.yaml: cannot be read" in problem(config=Path("a.yaml"))
    monkeypatch.setattr("experiments.trials.LOCK_SECONDS", 0.1)
    with FileLock(f"{database}.lock"):
        assert "is locked by others" in problem(storage=database)


def test_a_parameter_with_the_name_of_a_column_is_refused(tmp_path):
    path = tmp_path / "orion.pkl"
    build_experiment(
        "named",
        space={"/lr": "uniform(0, 1)", "/status": "uniform(0, 1)"},
        storage={
            "type": "legacy",
            "database": {"type": "pickleddb", "host": str(path)},
        },
    ).insert({"/lr": 0.1, "/status": 0.2})
    with pytest.raises(UserError, match="named: has a parameter status"):
        read_experiments(["named"], storage=path)


def test_options_that_do_not_go_together(database):
    for arguments in (
        ["trials.csv", "--storage", str(database)],
        ["trials.csv", "--experiment", "a"],
        ["--experiment", "a", "--storage", "a", "--storage_config", "b"],
        [],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2


def test_the_database_s_place_does_not_depend_on_the_folder(tmp_path):
    Path("orion.pkl").write_bytes(b"")
    described = describe_storage(Path("orion.pkl"))
    assert described["database"]["host"] == str(tmp_path / "orion.pkl")
