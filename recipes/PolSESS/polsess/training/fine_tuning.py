"""Starting a training from weights that another one has learned."""

import torch

from polsess.errors import UserError
from polsess.files import read_json
from polsess.run_folder import RunFiles
from polsess.training.checkpoints import is_of_an_epochs_end
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

TOLD = 5  # misfits, of all that there are
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
    source: str | None, trust: bool, hparams: dict, files: RunFiles
) -> dict:
    """Give a new run's separator the weights of a model that is there.

    A run that has finished an epoch has weights of its own. It is only noted
    what it began with; from where, if its folder is not the same any more.

    Arguments
    ---------
    source : str, None
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
        run's settings. Empty if it starts anew.

    Raises
    ------
    UserError
        If there is no such model, or its weights do not fit.
    """
    if source is None:
        return {}
    checkpoint = hparams["checkpointer"].find_checkpoint(
        ckpt_predicate=is_of_an_epochs_end
    )
    if checkpoint is not None and files.settings.exists():
        noted = read_json(files.settings)
        if noted.get("pretrained") == source:
            return {"pretrained_weights": noted.get("pretrained_weights")}
    # Here, since training itself needs nothing of inference.
    from polsess.inference.models import load_model

    # What is drawn for new weights must not change what the training draws.
    # It is loaded on the CPU; of several GPUs, torch would warn.
    with torch.random.fork_rng(devices=[]):
        run = load_model(source, trust=trust)
    separator = hparams["separator"]
    misfits = find_misfits(run.separator, separator)
    if misfits:
        more = f"; and {len(misfits) - TOLD} more" if misfits[TOLD:] else ""
        raise UserError(
            f"pretrained {source}: its network is not the one to be trained: "
            f"{'; '.join(misfits[:TOLD])}{more}. Give the options with which "
            "it was trained, such as its sizes and --n_sources with --task "
            "(they stand in its separator.json), or another model"
        )
    if run.settings["sample_rate"] != hparams["sample_rate"]:
        logger.warning(
            f"pretrained {source}: was trained at "
            f"{run.settings['sample_rate']} Hz, and goes on at "
            f"{hparams['sample_rate']} Hz"
        )
    if checkpoint is None:
        separator.load_state_dict(run.separator.state_dict())
        logger.info(f"The training starts from the weights of {source}")
    return {"pretrained_weights": run.weights_checksum}


def find_misfits(given: torch.nn.Module, wanted: torch.nn.Module) -> list[str]:
    """Find why the weights of one network do not suit another.

    Arguments
    ---------
    given : torch.nn.Module
        With weights.
    wanted : torch.nn.Module
        To get them.

    Returns
    -------
    list of str
        Parameters that are missing or of another shape; without any, the
        modules' classes and attributes that give the same parameters another
        meaning.

    Example
    -------
    >>> given = torch.nn.Conv1d(1, 2, 3)
    >>> find_misfits(given, torch.nn.Conv1d(1, 2, 4))
    ['weight has shape 2x1x3, here 2x1x4']
    >>> find_misfits(given, torch.nn.Conv1d(1, 2, 3, dilation=2))
    ['dilation is (1,), here (2,)']
    >>> find_misfits(torch.nn.ReLU(), torch.nn.GELU())
    ['the network is ReLU, here GELU']
    """
    shapes = [
        {
            name: "x".join(map(str, tensor.shape)) or "of a number"
            for name, tensor in network.state_dict().items()
        }
        for network in (given, wanted)
    ]
    misfits = [
        _tell(name, *(shape.get(name) for shape in shapes))
        for name in {**shapes[1], **shapes[0]}
        if shapes[0].get(name) != shapes[1].get(name)
    ]
    if misfits:
        return misfits
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


def _tell(name, given, wanted):
    """Tell of a parameter that is not the same in both."""
    if given is None:
        return f"{name} is missing there"
    if wanted is None:
        return f"{name} is not known here"
    return f"{name} has shape {given}, here {wanted}"


def _are_alike(first, second):
    """Whether modules are of one class, or of ours and SpeechBrain's."""
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
