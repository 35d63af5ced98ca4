"""Fine-tuning: training that starts from a trained model's weights."""

import torch

from polsess.errors import UserError, one_line
from polsess.run_folder import read_settings
from polsess.training.checkpoints import is_of_an_epochs_end
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

# Attributes of modules on which the meaning of their weights does not depend:
# those of training, and of the chunks in which a signal is processed.
# p is torch's Dropout's, K, frames of a chunk, SpeechBrain's Dual_Path_Model's.
FREE = {"training", "dropout", "p", "K", "complete_frames", "minimum_frames"}


def start_from_pretrained(hparams: dict, trust: bool) -> str | None:
    """Load the weights of a trained model into a run's separator.

    A run that has finished an epoch resumes from its own checkpoint instead,
    and the hash in its settings is returned, if ``pretrained`` is the same.

    Arguments
    ---------
    hparams : dict
        The loaded YAML; its separator is changed.
    trust : bool
        Whether SpeechBrain may run the code of a public model.

    Returns
    -------
    str
        Hash of these weights, the run's setting ``pretrained_weights``.

    Raises
    ------
    UserError
        If there is no such model, or its weights do not fit.
    """
    source, folder = hparams["pretrained"], hparams["output_folder"]
    if hparams["checkpointer"].find_checkpoint(
        ckpt_predicate=is_of_an_epochs_end
    ):
        noted = read_settings(folder)
        if noted.get("pretrained") == source:
            return noted.get("pretrained_weights")
    # Here, since training itself needs nothing of inference.
    from polsess.inference.models import load_model

    # Drawing initial weights must not change the training's random state. The
    # model is loaded on the CPU; with several GPUs, torch would warn.
    with torch.random.fork_rng(devices=[]):
        run = load_model(source, trust=trust)
    separator = hparams["separator"]
    try:
        separator.load_state_dict(run.separator.state_dict())
        misfits = find_misfits(run.separator, separator)
        if misfits:
            raise RuntimeError("; ".join(misfits))
    except RuntimeError as error:
        raise UserError(
            f"pretrained {source}: its network is not the one to be trained: "
            f"{one_line(error)}. Give the options with which it was trained, "
            "such as --n_sources with --task (see its separator.json)"
        ) from error
    rate = run.settings["sample_rate"]
    if rate != hparams["sample_rate"]:
        logger.warning(f"pretrained {source}: was trained at {rate} Hz")
    logger.info(f"The training starts from the weights of {source}")
    return run.weights_checksum


def find_misfits(given: torch.nn.Module, wanted: torch.nn.Module) -> list[str]:
    """Find differences that give two networks' parameters another meaning.

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
    misfits = []
    for path, module in given.named_modules():
        other = second.get(path)
        if other is None:
            continue
        kinds = type(module), type(other)
        # A class of ours may be derived from SpeechBrain's.
        if not (isinstance(module, kinds[1]) or isinstance(other, kinds[0])):
            first, here = (kind.__name__ for kind in kinds)
            misfits.append(f"{path or 'the network'} is {first}, here {here}")
        expected, where = vars(other), f"{path}." if path else ""
        misfits += [
            f"{where}{name} is {value!r}, here {expected[name]!r}"
            for name, value in vars(module).items()
            if name not in FREE
            and not name.startswith("_")
            and isinstance(value, bool | int | float | str | tuple)
            and expected.get(name, value) != value
        ]
    return misfits
