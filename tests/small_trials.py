"""Files of stages, and folders as their trials leave them, for tests."""

import hashlib
import json

import yaml
from polsess.search.sweep import SWEEPS

PARAMETERS = {"lr": 0.001, "weight_decay": 1e-6, "max_grad_norm": 5.0}
PARAMETERS |= {"lr_factor": 0.5, "lr_patience": 2}


def write_trial(folder, number, parameters, best=None, **changes):
    """Write the folder of a trial that has ended.

    Arguments
    ---------
    folder : pathlib.Path
        Of the sweep.
    number : int
        Its ID in Orion follows from it.
    parameters : dict
        Names and values.
    best : float, None
        SI-SDR in dB.
    **changes : object
        Other contents of ``trial.json``.

    Returns
    -------
    pathlib.Path
        The folder.

    Example
    -------
    >>> folder = write_trial(getfixture("tmp_path"), 1, {"lr": 0.1}, 2.5)
    >>> folder.parent.name, len(folder.name), folder.name[:8]
    ('trials', 32, 'c4ca4238')
    """
    name = hashlib.md5(str(number).encode()).hexdigest()
    failed = best is None or changes.get("ended") == "out of memory"
    record = {
        "trial": name,
        "experiment": folder.name,
        "parameters": parameters,
        "ended": "finished",
        "reason": None,
        "objective": 100.0 if failed else -best,
        "best_valid_si_sdr": best,
        "best_epoch": None if best is None else 3,
        "epochs": 5,
        "curve": [] if best is None else [-best],
        "seconds": 1800.0,
        "device": "cpu",
        "unixtime": 1e9 + number if isinstance(number, int) else 1e9,
        **changes,
    }
    trial = folder / "trials" / name
    trial.mkdir(parents=True)
    (trial / "trial.json").write_text(json.dumps(record))
    return trial


def write_stage(folder, bests, **changes):
    """Write a sweep's folder of finished trials of a published space.

    Arguments
    ---------
    folder : pathlib.Path
        Of the sweep.
    bests : list of float
        SI-SDR of each trial in dB; the parameters grow from one to the next.
    **changes : object
        Other contents of every ``trial.json``.

    Example
    -------
    >>> write_stage(getfixture("tmp_path"), [1.0, 2.0])
    >>> len(list(getfixture("tmp_path").glob("trials/*/trial.json")))
    2
    """
    for number, best in enumerate(bests):
        part = number / max(len(bests) - 1, 1)
        parameters = {
            "lr": 3e-4 * 10**part,
            "weight_decay": 1e-6 * 50**part,
            "max_grad_norm": 0.5 + 19.5 * part,
            "lr_factor": 0.38 + 0.57 * part,
            "lr_patience": round(1 + 4 * part),
        }
        key = f"{folder.name} {number}"
        write_trial(folder, key, parameters, best, **changes)


def written_stage(
    folder, name="dprnn_stage1_hpopt.yaml", experiment=None, **changes
):
    """Write the file of a shipped stage with changes, and random search.

    ``experiment`` changes its section experiment, ``changes`` its section
    sweep. Returns the folder.

    Example
    -------
    >>> folder = written_stage(getfixture("tmp_path"), seed=7)
    >>> [path.name for path in folder.iterdir()]
    ['dprnn_stage1_hpopt.yaml']
    """
    content = yaml.safe_load((SWEEPS / name).read_text())
    content["experiment"]["algorithm"] = {"random": {"seed": 1}}
    content["experiment"] |= experiment or {}
    content["sweep"] |= changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def arguments_of_run(folder, **experiment):
    """Write a small stage's file; make the command line that runs it."""
    own = written_stage(folder / "own", experiment=experiment)
    command = ["run", "dprnn", "stage1", "--data_folder", str(folder)]
    return [*command, "--sweeps", str(own), "--output", "out"]


def write_database(path, name, statuses):
    """Write a PickledDB of Orion's with an experiment of stage 1's space.

    Arguments
    ---------
    path : pathlib.Path
        Where to.
    name : str
        The experiment's.
    statuses : list of str
        What its trials have come to: completed, broken or, the last one at
        most, interrupted, which Orion would take up again.

    Returns
    -------
    list of str
        Their IDs.
    """
    from orion.client import build_experiment  # which takes seconds

    path.parent.mkdir(parents=True, exist_ok=True)
    stage = yaml.safe_load((SWEEPS / "dprnn_stage1_hpopt.yaml").read_text())
    database = {"type": "pickleddb", "host": str(path)}
    experiment = build_experiment(
        name,
        # With the slash that those of the command line have.
        space={f"/{n}": text for n, text in stage["sweep"]["space"].items()},
        algorithm={"random": {"seed": 1}},
        max_trials=100,
        max_broken=100,
        storage={"type": "legacy", "database": database},
    )
    trials = []
    for status in statuses:
        trial = experiment.suggest()
        if status == "completed":
            experiment.observe(trial, 1.0)
        else:
            experiment.release(trial, status)
        trials.append(trial.id)
    return trials


def rows_of(printed):
    r"""Read the rows of a table in Markdown.

    Arguments
    ---------
    printed : str
        The table, among other lines.

    Returns
    -------
    dict
        First cell -> list of the others.

    Example
    -------
    >>> rows_of("A table:\n| a | b |\n| --- | --- |\n| 1 | 2 |")
    {'a': ['b'], '1': ['2']}
    """
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]
    return {row[0]: row[1:] for row in rows}
