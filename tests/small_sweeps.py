"""Small sweeps, for tests."""

import copy

import yaml
from small_models import SMALL

SMALL_SWEEP = {
    "experiment": {
        "name": "small",
        "algorithm": {"random": {"seed": 1}},
        "max_trials": 4,
        "max_broken": 2,
    },
    "worker": {
        "max_broken": 2,
        "idle_timeout": 120,
        "executor_configuration": {"backend": "threading"},
    },
    "sweep": {
        "model": "dprnn",
        "stage": "stage1",
        "after": None,
        "seed": 42,
        "train_size": 6,
        "number_of_epochs": 4,
        "early_stopping_patience": 3,
        "curriculum": [
            {"epoch": 1, "variants": ["C", "R"], "lr_scheduler": False},
            {
                "epoch": 2,
                "variants": ["R", "SR", "S", "SE", "ER", "E", "SER"],
                "lr_scheduler": True,
            },
        ],
        "termination": {"hyperband": {"min_iter": 2, "eta": 3, "s": 1}},
        "space": {
            "lr": "loguniform(3e-4, 3e-3)",
            "max_grad_norm": "uniform(0.5, 20)",
            "lr_patience": "uniform(1, 5, discrete=True)",
        },
        "options": {
            "precision": "fp32",
            "batch_size": 2,
            "valid_batch_size": 4,
            **SMALL["dprnn"],
        },
        "baseline": None,
        "published": None,
    },
}
VALUES = {"lr": 0.001, "max_grad_norm": 3.5, "lr_patience": 2}


def write_sweep(path, **changes):
    """Write the small sweep's file.

    Arguments
    ---------
    path : Path
        Where to.
    **changes : object
        Of the section ``sweep``.

    Returns
    -------
    Path
        The same.
    """
    content = copy.deepcopy(SMALL_SWEEP)
    content["sweep"] |= changes
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def trial_arguments(sweep, corpus, folder, /, **options):
    """Make the arguments of ``train.py`` for a trial, as Orion gives them.

    Arguments
    ---------
    sweep : Path
        The sweep's file.
    corpus : Path
        A small corpus.
    folder : Path
        The sweep's folder.
    **options : object
        Further options, or other values of the parameters; None for none.

    Returns
    -------
    list of str
        The YAML file and options.
    """
    settings = {
        "sweep": sweep,
        "sweep_folder": folder,
        "data_folder": corpus,
        "device": "cpu",
        "num_workers": 0,
        **VALUES,
        **options,
    }
    arguments = ["hparams/dprnn.yaml"]
    for name, value in settings.items():
        if value is not None:
            arguments += [f"--{name}", str(value)]
    return [*arguments, "--noprogressbar"]


def act_as_orion(monkeypatch, results, trial="a1"):
    """Set what Orion tells its scripts.

    Arguments
    ---------
    monkeypatch : MonkeyPatch
        Of the test.
    results : Path
        Where the result is expected; made empty, as Orion does.
    trial : str
        Its ID.
    """
    results.write_text("")
    environment = {
        "ORION_EXPERIMENT_NAME": "small",
        "ORION_EXPERIMENT_VERSION": "1",
        "ORION_TRIAL_ID": trial,
        "ORION_RESULTS_PATH": str(results),
        "ORION_WORKING_DIR": str(results.parent / "orion" / trial),
        "ORION_INTERRUPT_CODE": "130",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
