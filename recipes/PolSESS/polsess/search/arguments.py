"""The option ``--sweep FILE`` of ``train.py``.

The file's settings become options, so that the rest of the training is
independent of sweeps. An option that contradicts the file is an error.
"""

import json
import os
import re
from pathlib import Path

from polsess import commands
from polsess.errors import UserError
from polsess.search.sweep import decode_path, read_sweep_file
from polsess.search.trial import Trial, experiment_name
from polsess.training.settings import (
    SETTINGS,
    add_sweep_options,
    parse_arguments,
)


def read_sweep_arguments(
    arguments: list[str],
) -> tuple[list[str], Trial | None]:
    """Replace ``--sweep FILE`` by the options of the file.

    Outside Orion the training is a single one, to the end, with the file's
    settings and the given parameters.

    Arguments
    ---------
    arguments : list of str
        Of ``train.py``.

    Returns
    -------
    arguments : list of str
        The same without ``--sweep``.
    trial : Trial, None
        If Orion is the caller.

    Raises
    ------
    UserError
        If the file is wrong, or the command line contradicts it.

    Example
    -------
    >>> read_sweep_arguments(["hparams/dprnn.yaml", "--lr", "0.001"])
    (['hparams/dprnn.yaml', '--lr', '0.001'], None)
    """
    parser = commands.make_parser(None, add_help=False)
    add_sweep_options(parser)
    arguments = list(map(decode_path, arguments))
    own, arguments = commands.parse_known(parser, arguments)
    if own.sweep_folder and not commands.called_by_orion():
        raise UserError("--sweep_folder: is for trials that Orion starts")
    if own.sweep is None:
        if commands.called_by_orion():
            raise UserError("give --sweep FILE, the same as Orion's --config")
        return arguments, None
    sweep = read_sweep_file(own.sweep)
    given = _read_given(arguments, sweep)
    for name, value in sweep.settings.items():
        if name in given:
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        arguments += commands.write_options({name: text})
    if not commands.called_by_orion():
        return arguments, None
    _check_working_folder()
    commands.treat_sigterm_as_interrupt()
    folder = own.sweep_folder or Path("results/sweeps", experiment_name())
    parameters = {name: given[name] for name in sweep.space}
    trial = Trial(sweep, folder, os.environ["ORION_TRIAL_ID"], parameters)
    if sweep.start_from and not trial.sweep_files.start.exists():
        raise UserError(
            f"{sweep.path}: start_from: there is no {trial.sweep_files.start}; "
            "start the stage with tools/sweep.py run"
        )
    folders = {"output_folder": str(trial.folder)}
    folders["manifest_folder"] = str(trial.sweep_files.manifests)
    return arguments + commands.write_options(folders), trial


def _read_given(arguments, sweep):
    """Read the options of a command line, and check them against the file."""
    hparams_file, run_opts, overrides = parse_arguments(arguments)
    given = {n: run_opts[n] for n in run_opts.overridden_args} | overrides
    if Path(hparams_file).stem != sweep.model:
        raise UserError(f"{hparams_file}: {sweep.path} is for {sweep.model}")
    for name in given if commands.called_by_orion() else ():
        if name in SETTINGS and SETTINGS[name].of_trial:
            raise UserError(f"--{name}: a trial has its own: --sweep_folder")
    for name, prior in sweep.space.items():
        if name not in given:
            raise UserError(
                f"--{name} is missing: {sweep.path} has {prior.text}"
            )
        prior.check(name, given[name], sweep.path)
    for name, value in given.items():
        sweep.check_setting(name, value)
    return given


def _check_working_folder():
    """Check that Orion has a lasting working folder.

    Otherwise each hunt makes a temporary one and saves its path with the trials
    that it draws. A hunt that ends then removes the results of trials that it
    drew and another hunt trains, and these count as crashed.
    """
    folder = Path(os.environ["ORION_WORKING_DIR"]).parent.name
    name = os.environ["ORION_EXPERIMENT_NAME"]
    version = os.environ["ORION_EXPERIMENT_VERSION"]
    if re.fullmatch(rf"{re.escape(name)}-v{version}[a-z0-9_]{{8}}", folder):
        raise UserError("give orion hunt --working-dir FOLDER, before python")
