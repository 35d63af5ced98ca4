"""Files of stages, and folders as their trials leave them, for tests."""

import hashlib
import json

import yaml
from sweeps.stages import SHIPPED


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
    record = {
        "trial": name,
        "experiment": folder.name,
        "parameters": parameters,
        "ended": "finished",
        "reason": None,
        "objective": 100.0 if best is None else -best,
        "best_valid_si_sdr": best,
        "best_epoch": None if best is None else 3,
        "epochs": 5,
        "seconds": 1800.0,
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


def written_stage(folder, name="dprnn_stage1.yaml", trials=None, **changes):
    """Write the file of a shipped stage with changes, and random search.

    Arguments
    ---------
    folder : pathlib.Path
        Where to.
    name : str
        The shipped file's.
    trials : int, None
        As many it is to have; None for those of the shipped file.
    **changes : object
        Other contents of its section sweep.

    Returns
    -------
    pathlib.Path
        The folder.

    Example
    -------
    >>> folder = written_stage(getfixture("tmp_path"), seed=7)
    >>> [path.name for path in folder.iterdir()]
    ['dprnn_stage1.yaml']
    """
    content = yaml.safe_load((SHIPPED / name).read_text())
    content["experiment"]["algorithm"] = {"random": {"seed": 1}}
    if trials is not None:
        content["experiment"]["max_trials"] = trials
    content["sweep"] |= changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return folder
