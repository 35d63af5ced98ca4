"""Descriptions of networks: classes and plain arguments.

``separator.json`` in the folder of a run or an exported model says which
network its weights belong to::

    {"class": "polsess.models.spmamba.SPMamba", "arguments": {"blocks": 4}}

An argument may be such a mapping itself. Such a file may come from elsewhere,
so nothing but modules of the known networks is built.
"""

from contextlib import suppress
from importlib import import_module
from typing import Any

import torch
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.nodes import MappingNode, SequenceNode

from polsess.errors import UserError, one_line

# Their torch modules may be part of a network, beside those of our models.
OURS = "polsess.models."
SPEECHBRAIN = (
    "speechbrain.lobes.models.conv_tasnet",
    "speechbrain.lobes.models.dual_path",
    "speechbrain.lobes.models.resepformer",
)
PLAIN = tuple(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "seq", "map")
)
NO_MAPPING = (AttributeError, TypeError)  # raised by a file that holds none
LARGEST = 10_000  # values; aliases within aliases would be endless


def describe(text: str, source: object) -> dict:
    """Describe the separator of a YAML file, without building it.

    Arguments
    ---------
    text : str
        The YAML file's content, without references: as train.py writes it.
    source : object
        Where it stands, for the error.

    Returns
    -------
    dict
        ``class`` and ``arguments``.

    Raises
    ------
    UserError
        If there is no such network, or it is made of anything else than
        classes of known networks and plain values.

    Example
    -------
    >>> text = "separator: !new:polsess.models.spmamba.SPMamba {blocks: 1}"
    >>> describe(text, "hyperparams.yaml")["arguments"]
    {'blocks': 1}
    """
    try:
        keys = {name.value: node for name, node in YAML().compose(text).value}
        if "separator" not in keys:
            raise ValueError("it has no key separator")
        description = _describe(keys["separator"], [])
        if not isinstance(description, dict) or "class" not in description:
            raise ValueError("its separator is not a class as !new:...")
        return description
    except (YAMLError, ValueError, RecursionError, *NO_MAPPING) as error:
        raise UserError(f"{source}: {one_line(error)}") from error


def _describe(node, seen):
    """Turn a YAML node into plain values and descriptions."""
    seen.append(node)
    if len(seen) > LARGEST:
        raise ValueError(f"it holds more than {LARGEST} values")
    value: Any = None
    if isinstance(node, MappingNode):
        value = {str(n.value): _describe(part, seen) for n, part in node.value}
    elif isinstance(node, SequenceNode):
        value = [_describe(part, seen) for part in node.value]
    elif node.tag.startswith("!new:") and not node.value:
        value = {}
    elif node.tag in PLAIN:
        value = YAML(typ="safe").constructor.construct_object(node)
    if node.tag in PLAIN:
        return value
    line = f"line {node.start_mark.line + 1}: {node.tag}"
    if not node.tag.startswith("!new:"):
        raise ValueError(f"{line} is neither a plain value nor !new:class")
    name = node.tag.removeprefix("!new:")
    find_class(name)
    if not isinstance(value, dict):
        raise ValueError(f"{line}: give its arguments by name")
    return {"class": name, "arguments": value}


def find_class(name: str) -> type[torch.nn.Module]:
    """Find a class that may be part of a network.

    Arguments
    ---------
    name : str
        Such as ``polsess.models.spmamba.SPMamba``.

    Returns
    -------
    type
        A torch module.

    Raises
    ------
    ValueError
        If it is none of the known networks'.
    """
    module, _, own_name = name.rpartition(".")
    found = None
    if module in SPEECHBRAIN or module.startswith(OURS):
        with suppress(ImportError):
            found = getattr(import_module(module), own_name, None)
    if (
        not isinstance(found, type)
        or not issubclass(found, torch.nn.Module)
        or found.__module__ != module  # not one that the module imports
    ):
        raise ValueError(f"{name} is no torch module of known networks")
    return found


def build(description: dict, source: object) -> torch.nn.Module:
    """Build the network that a description names.

    Arguments
    ---------
    description : dict
        As ``describe`` returns it.
    source : object
        Where it stands, for the error.

    Returns
    -------
    torch.nn.Module
        With new weights.

    Raises
    ------
    UserError
        If a class is not allowed, or not for these arguments.

    Example
    -------
    >>> name = "speechbrain.lobes.models.dual_path.Encoder"
    >>> arguments = {"kernel_size": 16, "out_channels": 8}
    >>> build({"class": name, "arguments": arguments}, "").in_channels
    1
    """
    try:
        return _build(description, "the network")
    except Exception as error:  # whatever a class raises at such values
        problem = one_line(f"{type(error).__name__}: {error}")
        raise UserError(
            f"{source}: the network cannot be built ({problem})"
        ) from error


def _build(description, what):
    """Build a described network, the networks among its arguments first."""
    if not isinstance(description, dict) or (
        description.keys() != {"class", "arguments"}
        or not isinstance(description["class"], str)
        or not isinstance(description["arguments"], dict)
    ):
        raise ValueError(f"{what} is not given as class and arguments")
    found = find_class(description["class"])
    return found(
        **{
            name: _build(value, name) if isinstance(value, dict) else value
            for name, value in description["arguments"].items()
        }
    )
