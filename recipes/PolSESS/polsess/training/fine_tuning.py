"""Starting a training from weights that another one has learned."""

import torch

from polsess.errors import UserError
from polsess.run_folder import RunFiles, read_settings
from polsess.training.checkpoints import is_of_an_epochs_end
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

# What an attribute of a module may be without that its weights mean something
# else: how it is trained, and in which pieces it takes the signal.
FREE = {
    "training",
    "dropout",
    "p",  # of torch's Dropout
    "K",  # of SpeechBrain's Dual_Path_Model: frames of a chunk
    "complete_frames",
    "minimum_frames",
}


def start_from(
    source: str, trust: bool, hparams: dict, files: RunFiles
) -> dict:
    """Give a run's separator the weights of a model that is there.

    A run that has finished an epoch goes on with weights of its own. It is only
    noted what it began with; from where, if its folder is not the same any
    more.

    Arguments
    ---------
    source : str
        The model's folder, as ``load_model`` takes it.
    trust : bool
        Whether SpeechBrain may run what a public model's files say.
    hparams : dict
        The loaded YAML; its separator is changed.
    files : RunFiles
        The run's.

    Returns
    -------
    dict
        ``pretrained_weights``: what tells these weights from others, for the
        run's settings.

    Raises
    ------
    UserError
        If there is no such model, or its weights do not fit.
    """
    checkpoint = hparams["checkpointer"].find_checkpoint(
        ckpt_predicate=is_of_an_epochs_end
    )
    if checkpoint is not None and files.settings.exists():
        noted = read_settings(files.folder)
        if noted.get("pretrained") == source:
            return {"pretrained_weights": noted.get("pretrained_weights")}
    # Here, since training itself needs nothing of inference.
    from polsess.inference.models import load_model

    # What is drawn for new weights must not change what the training draws.
    # It is loaded on the CPU; of several GPUs, torch would warn.
    with torch.random.fork_rng(devices=[]):
        run = load_model(source, trust=trust)
    separator = hparams["separator"]
    try:
        separator.load_state_dict(run.separator.state_dict())
        misfits = find_misfits(run.separator, separator)
        if misfits:
            raise RuntimeError("; ".join(misfits))
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"pretrained {source}: its network is not the one to be trained: "
            f"{problem[:300]}. Give the options with which it was trained, "
            "such as its sizes and --n_sources with --task (they stand in its "
            "separator.json), or another model"
        ) from error
    if run.settings["sample_rate"] != hparams["sample_rate"]:
        logger.warning(
            f"pretrained {source}: was trained at "
            f"{run.settings['sample_rate']} Hz, and goes on at "
            f"{hparams['sample_rate']} Hz"
        )
    logger.info(f"The training starts from the weights of {source}")
    return {"pretrained_weights": run.weights_checksum}


def find_misfits(given: torch.nn.Module, wanted: torch.nn.Module) -> list[str]:
    """Find what gives the parameters of two networks another meaning.

    Arguments
    ---------
    given, wanted : torch.nn.Module
        With parameters of the same names and shapes.

    Returns
    -------
    list of str
        Modules of another class, and attributes with other values.

    Example
    -------
    >>> given = torch.nn.Conv1d(1, 2, 3)
    >>> find_misfits(given, torch.nn.Conv1d(1, 2, 3, dilation=2))
    ['dilation is (1,), here (2,)']
    >>> find_misfits(torch.nn.ReLU(), torch.nn.GELU())
    ['the network is ReLU, here GELU']
    """
    second = dict(wanted.named_modules())
    others = [
        f"{name or 'the network'} is {type(module).__name__}, here "
        f"{type(second[name]).__name__}"
        for name, module in given.named_modules()
        if name in second and not _are_alike(module, second[name])
    ]
    first, second = _attributes(given), _attributes(wanted)
    return others + [
        f"{name} is {first[name]!r}, here {second[name]!r}"
        for name in first
        if name in second and first[name] != second[name]
    ]


def _are_alike(first, second):
    """Check whether modules are of one class, or of ours and SpeechBrain's."""
    return isinstance(first, type(second)) or isinstance(second, type(first))


def _attributes(network):
    """Collect what the modules of a network were told, as plain values."""
    return {
        f"{path}.{name}".removeprefix("."): value
        for path, module in network.named_modules()
        for name, value in vars(module).items()
        if name not in FREE
        and not name.startswith("_")
        and isinstance(value, bool | int | float | str | tuple)
    }
