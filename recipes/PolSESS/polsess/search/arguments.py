"""``--sweep FILE`` on the command line of ``train.py``.

The file's settings become options, so that nothing behind this module knows of
sweeps. What the command line says otherwise is an error.
"""

import json
from pathlib import Path

from polsess.commands import (
    called_by_orion,
    make_parser,
    treat_sigterm_as_interrupt,
)
from polsess.errors import UserError
from polsess.search.sweep import read_prior, read_sweep_file
from polsess.search.trial import (
    MARK,
    Trial,
    check_working_folder,
    experiment_name,
    priors_on_command_line,
    trial_id,
)
from polsess.training.settings import (
    SETTINGS,
    add_sweep_options,
    parse_arguments,
)


def read_sweep_arguments(
    arguments: list[str],
) -> tuple[list[str], Trial | None]:
    """Replace ``--sweep FILE`` by the options that it stands for.

    Outside Orion it trains once, to the end, with the file's settings and the
    parameters that are given.

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
        If the file is not right, or the command line contradicts it.

    Example
    -------
    >>> read_sweep_arguments(["hparams/dprnn.yaml", "--lr", "0.001"])
    (['hparams/dprnn.yaml', '--lr', '0.001'], None)
    """
    parser = make_parser(None, add_help=False)
    add_sweep_options(parser)
    own, arguments = parser.parse_known_args(arguments)
    if own.sweep_folder and not called_by_orion():
        raise UserError("--sweep_folder: is for trials that Orion starts")
    if own.sweep is None:
        if called_by_orion():
            raise UserError(
                "Orion has started this training: give --sweep FILE, the same "
                "as Orion's --config"
            )
        return arguments, None
    sweep = read_sweep_file(own.sweep)
    parameters, settings = _compare(sweep, arguments)
    for name, value in settings.items():
        text = value if isinstance(value, str) else json.dumps(value)
        arguments = [*arguments, f"--{name}", text]
    if not called_by_orion():
        return arguments, None
    treat_sigterm_as_interrupt()
    folder = own.sweep_folder or Path("results/sweeps", experiment_name())
    trial = Trial(sweep, folder, trial_id(), parameters)
    arguments += ["--output_folder", str(trial.folder)]
    arguments += ["--manifest_folder", str(trial.manifests)]
    return arguments, trial


def _compare(sweep, arguments):
    """Compare a command line with a sweep's file.

    Returns the parameters' values, and the settings that are not given.
    """
    hparams_file, run_opts, overrides = parse_arguments(arguments)
    given = {n: run_opts[n] for n in run_opts.overridden_args} | overrides
    if Path(hparams_file).stem != sweep.model:
        raise UserError(
            f"{hparams_file}: {sweep.path} is for hparams/{sweep.model}.yaml"
        )
    if called_by_orion():
        check_working_folder()
        _check_priors(sweep, priors_on_command_line())
        for name in given:
            if name in SETTINGS and SETTINGS[name].of_trial:
                raise UserError(
                    f"--{name}: a trial finds that out itself; --sweep_folder "
                    "says where all trials of a sweep go"
                )
    for name, prior in sweep.space.items():
        if name not in given:
            raise UserError(
                f"--{name} is missing: {sweep.path} has it from {prior.text}"
            )
        if str(given[name]).startswith(MARK):
            raise UserError(
                f"--{name}: Orion gives no value, as the experiment was begun "
                f"with other parameters than {sweep.path} has now; give it "
                "another name, or the file its former parameters"
            )
        prior.check(name, given[name], sweep.path)
    for name, value in sweep.settings.items():
        if name in given and given[name] != value:
            raise UserError(
                f"--{name} {given[name]!r}: {sweep.path} says {value!r}; "
                "leave the option out, or change the file"
            )
    parameters = {name: given[name] for name in sweep.space}
    settings = {n: v for n, v in sweep.settings.items() if n not in given}
    return parameters, settings


def _check_priors(sweep, priors):
    """Check the priors that Orion was given, if it was given any here."""
    for name, text in priors.items():
        if name not in sweep.space:
            raise UserError(
                f"--{name}~{text}: {sweep.path} has no such parameter; it has "
                f"{', '.join(sweep.space)}"
            )
        prior = sweep.space[name]
        if read_prior(name, text, "orion hunt") != prior:
            raise UserError(
                f"--{name}~{text}: {sweep.path} has {name} from {prior.text}"
            )
