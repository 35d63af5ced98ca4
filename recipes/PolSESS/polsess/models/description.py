"""Descriptions of networks: classes and plain arguments.

``separator.json`` in the folder of a run or an exported model says which
network its weights belong to::

    {"class": "polsess.models.spmamba.SPMamba", "arguments": {"blocks": 4}}

An argument may be such a mapping itself. Such a file may come from elsewhere,
so nothing but modules of the known networks is built.
"""

import json
from contextlib import suppress
from importlib import import_module

import torch
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.constructor import SafeConstructor

from polsess.errors import UserError, one_line

# Their torch modules may be part of a network, beside those of our models.
OURS = "polsess.models."
SPEECHBRAIN = (
    "speechbrain.lobes.models.conv_tasnet",
    "speechbrain.lobes.models.dual_path",
    "speechbrain.lobes.models.resepformer",
)
NO_MAPPING = (AttributeError, TypeError)  # raised by a file that holds none


class _Describer(SafeConstructor):
    """Constructor of plain values, and of descriptions for ``!new:class``."""

    def describe(self, name, node):
        """Describe an object of a known network's class."""
        find_class(name)
        if node.value and node.id != "mapping":
            raise ValueError(f"{name}: give its arguments by name")
        arguments = self.construct_mapping(node, True) if node.value else {}
        return {"class": name, "arguments": arguments}


_Describer.add_multi_constructor("!new:", _Describer.describe)


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
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Describer
    try:
        keys = {name.value: node for name, node in yaml.compose(text).value}
        if "separator" not in keys:
            raise ValueError("it has no key separator")
        description = yaml.constructor.construct_document(keys["separator"])
        if not isinstance(description, dict) or "class" not in description:
            raise ValueError("its separator is not a class as !new:...")
        json.dumps(description)  # fails at other kinds of values
        return description
    except (YAMLError, ValueError, RecursionError, *NO_MAPPING) as error:
        raise UserError(f"{source}: {one_line(error)}") from error


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
        return _build(description)
    except Exception as error:  # whatever a class raises at such values
        problem = one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"{source}: cannot be built ({problem})") from error


def _build(description):
    """Build a described network, the networks among its arguments first."""
    return find_class(description["class"])(
        **{
            name: _build(value) if isinstance(value, dict) else value
            for name, value in description["arguments"].items()
        }
    )
