"""A separator as files for SpeechBrain's own loaders.

The masking models become what ``SepformerSeparation.from_hparams`` reads, of
SpeechBrain's and torch's classes alone; SPMamba what ``foreign_class`` reads,
with the modules that it consists of.
"""

import io
import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import TypeGuard

import torch
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from polsess.inference.safe_yaml import nodes_of
from polsess.models.separator import MaskingSeparator
from polsess.models.speechbrain_names import PARTS, STOCK

INTERFACE = Path(__file__).with_name("custom_interface.py")
CODE = Path(__file__).parent.parent
# All that SPMamba imports of this recipe.
SPMAMBA_CODE = (
    *("__init__.py", "errors.py", "models/__init__.py", "models/spmamba.py"),
    "models/mamba/*.py",
)


def is_masking(separator: torch.nn.Module) -> TypeGuard[MaskingSeparator]:
    """Whether ``SepformerSeparation`` itself can hold a separator."""
    return isinstance(separator, MaskingSeparator)


def shortest_mixture(separator: MaskingSeparator) -> int:
    """Tell from which length on SpeechBrain computes what we do.

    Arguments
    ---------
    separator : MaskingSeparator
        It pads shorter mixtures further; SpeechBrain does not.

    Returns
    -------
    int
        Samples.

    Example
    -------
    >>> parts = [torch.nn.Identity()] * 3
    >>> shortest_mixture(MaskingSeparator(*parts, 16, minimum_frames=24))
    193
    """
    frames = separator.minimum_frames
    return separator.kernel_size + (frames - 2) * separator.stride + 1


def write_speechbrain(
    folder: Path, separator: torch.nn.Module, description: Node, settings: dict
) -> None:
    """Write all files that SpeechBrain's loaders need.

    Arguments
    ---------
    folder : Path
        Where to.
    separator : torch.nn.Module
        With its weights.
    description : ruamel.yaml.nodes.Node
        What ``describe_separator`` found.
    settings : dict
        With ``sample_rate`` in Hz and ``n_sources``.
    """
    if is_masking(separator):
        keys = _masking_keys(separator, description)
        weights = {
            name: getattr(separator, part).state_dict()
            for name, part in PARTS.items()
        }
        # It is the second of two layers, behind the padding.
        weights["encoder"] = {
            f"1.{name}": tensor for name, tensor in weights["encoder"].items()
        }
    else:
        keys = {"separator": description}
        weights = {"separator": separator.state_dict()}
        _copy_code(folder)
    for name, tensors in weights.items():
        torch.save(tensors, folder / f"{name}.ckpt")
    text = (
        "# For SpeechBrain; our own loader reads separator.yaml instead.\n"
        f"sample_rate: {settings['sample_rate']}  # Hz\n"
        f"num_spks: {settings['n_sources']}\n\n"
        f"{lay_out(keys)}\n{_loading(weights)}"
    )
    (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")


def lay_out(keys: dict) -> str:
    r"""Lay YAML nodes out as text.

    Arguments
    ---------
    keys : dict
        Key -> node; comments are left out.

    Returns
    -------
    str
        A YAML file.

    Example
    -------
    >>> node = YAML().compose("{blocks: 4  # many\n}")
    >>> print(lay_out({"separator": node}).strip())
    separator: {blocks: 4}
    """
    named = [(YAML().compose(name), node) for name, node in keys.items()]
    whole = MappingNode("tag:yaml.org,2002:map", named)
    for node in nodes_of(whole):
        node.comment = None
    text = io.StringIO()
    YAML().serialize(whole, text)
    return text.getvalue()


def _masking_keys(separator, description):
    """Describe the parts as ``SepformerSeparation`` wants them."""
    description = deepcopy(description)
    for node in nodes_of(description):
        if node.tag in STOCK:
            tag, options = STOCK[node.tag]
            node.tag = tag
            node.value += YAML().compose(json.dumps(options)).value
    parts = {key.value: node for key, node in description.value}
    # Zeros for the frame that the last samples do not fill. The encoder drops
    # those that it does not need.
    padded = YAML().compose(
        "!new:torch.nn.Sequential\n"
        "- !new:torch.nn.ConstantPad1d\n"
        f"  padding: [0, {separator.stride - 1}]\n"
        "  value: 0.0\n"
    )
    padded.value.append(parts["encoder"])
    return {
        "encoder": padded,
        "masknet": parts["mask_network"],
        "decoder": parts["decoder"],
    }


def _loading(names):
    """Lay out what makes SpeechBrain load the weights."""
    references = "".join(f"  {name}: !ref <{name}>\n" for name in names)
    loadables = references.replace("  ", "    ")
    return (
        f"modules:\n{references}\n"
        "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer\n"
        f"  loadables:\n{loadables}"
    )


def _copy_code(folder):
    """Copy the modules that SPMamba consists of, and its interface."""
    shutil.copyfile(INTERFACE, folder / INTERFACE.name)
    for pattern in SPMAMBA_CODE:
        for path in CODE.glob(pattern):
            copy = folder / "polsess" / path.relative_to(CODE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
