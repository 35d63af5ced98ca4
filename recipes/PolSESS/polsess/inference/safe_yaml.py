"""Building a separator from a YAML file that may come from elsewhere.

HyperPyYAML calls whatever a file names, and its loader constructs any Python
object. Here only the separator is built, and only of plain values and torch
modules of known files; a file that would take for ever to read is refused.
"""

import hashlib
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from polsess.errors import UserError

# Their torch modules may be part of a separator.
MODULES = (
    "polsess.models.convtasnet",
    "polsess.models.separator",
    "polsess.models.sepformer",
    "polsess.models.spmamba",
    "speechbrain.lobes.models.conv_tasnet",
    "speechbrain.lobes.models.dual_path",
    "speechbrain.lobes.models.resepformer",
)
# What runs of earlier versions call them.
EARLIER_NAMES = {
    "convtasnet_masks": "polsess.models.convtasnet",
    "separator": "polsess.models.separator",
    "spmamba": "polsess.models.spmamba",
    "transformer_block": "polsess.models.sepformer",
}
PLAIN = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "seq", "map")
}
# train.py writes files of less than a tenth of these.
LONGEST = 100_000  # characters
LARGEST = 10_000  # values, those of an alias counted each time
DEEPEST = 50  # lists and mappings within each other


def build_separator(hparams_file: Path) -> torch.nn.Module:
    """Build the separator that a YAML file describes, and nothing else.

    Arguments
    ---------
    hparams_file : Path
        With the key ``separator``, without references: as train.py writes it.

    Returns
    -------
    torch.nn.Module
        With new weights.

    Raises
    ------
    UserError
        If the file cannot be read, or something in the separator is neither a
        plain value nor a torch module of ``MODULES``.

    Example
    -------
    >>> path = getfixture("tmp_path") / "hyperparams.yaml"
    >>> spmamba = "!new:polsess.models.spmamba.SPMamba {blocks: 1}"
    >>> _ = path.write_text(f"separator: {spmamba}")
    >>> type(build_separator(path)).__name__
    'SPMamba'
    """
    node = describe_separator(hparams_file)
    return build_network(node, hparams_file, "separator")


def build_network(node: Node, hparams_file: Path, name: str) -> torch.nn.Module:
    """Build the network that a checked YAML node describes.

    Arguments
    ---------
    node : ruamel.yaml.nodes.Node
        That ``check_network`` has let pass.
    hparams_file : Path
        Where it stands, for the errors.
    name : str
        What it is called there.

    Returns
    -------
    torch.nn.Module
        With new weights.

    Raises
    ------
    UserError
        If that is not possible.
    """
    try:
        network = _construct(node, {})
    except Exception as error:  # whatever a module raises at such values
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{hparams_file}: its {name} cannot be built ({problem[:300]})"
        ) from error
    if not isinstance(network, torch.nn.Module):
        raise UserError(f"{hparams_file}: its {name} is no torch module")
    return network


def describe_separator(hparams_file: Path) -> Node:
    """Find what a YAML file says of the separator.

    Arguments
    ---------
    hparams_file : Path
        With the key ``separator``.

    Returns
    -------
    ruamel.yaml.nodes.Node
        Plain values and torch modules of ``MODULES``.

    Raises
    ------
    UserError
        If the file cannot be read, or there is anything else in it.
    """
    keys = read_keys(hparams_file)
    if "separator" not in keys:
        raise UserError(f"{hparams_file}: has no key 'separator'")
    check_network(keys["separator"], hparams_file)
    return keys["separator"]


def read_keys(hparams_file: Path) -> dict:
    """Read a YAML file as nodes, of which nothing is built.

    Arguments
    ---------
    hparams_file : Path
        The file.

    Returns
    -------
    dict
        Key -> ruamel.yaml.nodes.Node.

    Raises
    ------
    UserError
        If it cannot be read, or is no mapping or too large.
    """
    try:
        with open(hparams_file, encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
        _check_size(text)
        return {key.value: node for key, node in YAML().compose(text).value}
    except OSError as error:
        raise UserError(
            f"{hparams_file}: cannot be read ({error.strerror})"
        ) from error
    except (YAMLError, ValueError, AttributeError, TypeError) as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{hparams_file}: is not a file of settings ({problem[:300]})"
        ) from error


def check_network(node: Node, hparams_file: Path) -> None:
    """Check that a YAML node describes nothing but a network.

    Arguments
    ---------
    node : ruamel.yaml.nodes.Node
        Of any content.
    hparams_file : Path
        Where it stands, for the error.

    Raises
    ------
    UserError
        If something in it is neither a plain value nor a torch module of
        ``MODULES``.
    """
    for part in nodes_of(node):
        if part.tag not in PLAIN and find_class(part.tag) is None:
            raise UserError(
                f"{hparams_file}, line {part.start_mark.line + 1}: {part.tag} "
                "is refused. A separator is made of plain values and of torch "
                f"modules of {', '.join(MODULES)}, as !new:module.Class, with "
                "references resolved, as train.py writes it; other files are "
                "allowed in loading/safe_yaml.py"
            )


def _check_size(text):
    """Refuse what is small as text and endless as a tree, before it is one."""
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    known = {}  # anchor -> count and depth of what it stands for
    open_nodes: list[list] = [[None, 0, 0]]
    for event in YAML().parse(text):
        count = depth = 0
        if isinstance(event, CollectionStartEvent):
            open_nodes.append([event.anchor, 1, 1])
        elif isinstance(event, CollectionEndEvent):
            anchor, count, depth = open_nodes.pop()
            known[anchor] = count, depth
        elif isinstance(event, AliasEvent):
            if event.anchor not in known:
                raise ValueError(
                    f"*{event.anchor} stands within itself, or for nothing"
                )
            count, depth = known[event.anchor]
        elif isinstance(event, ScalarEvent):
            known[event.anchor] = count, depth = 1, 0
        above = open_nodes[-1]
        above[1] += count
        above[2] = max(above[2], depth + 1)
        if above[1] > LARGEST:
            raise ValueError(f"it holds more than {LARGEST} values")
        if len(open_nodes) + above[2] > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")


def nodes_of(node: Node) -> Iterator[Node]:
    """Yield a YAML node and all nodes in it."""
    yield node
    children = node.value if isinstance(node.value, list) else []
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            yield from nodes_of(part)


def hash_description(node: Node) -> str:
    """Hash a description, to tell it from others.

    Arguments
    ---------
    node : ruamel.yaml.nodes.Node
        What ``describe_separator`` returned.

    Returns
    -------
    str
        SHA-256, in hexadecimal digits; comments and names of anchors make no
        difference.

    Example
    -------
    >>> first, second = (YAML().compose(f"a: {n}  # {n}") for n in (1, 2))
    >>> hash_description(first) == hash_description(second)
    False
    """
    parts = [
        [n.tag, len(n.value) if isinstance(n.value, list) else n.value]
        for n in nodes_of(node)
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find_class(tag: str | None) -> Any:
    """Find the torch module that a YAML tag names.

    Arguments
    ---------
    tag : str, None
        Such as ``!new:polsess.models.spmamba.SPMamba``.

    Returns
    -------
    type, None
        None if it is none of ``MODULES``.
    """
    if tag is None:
        return None
    module, _, name = tag.removeprefix("!new:").rpartition(".")
    module = EARLIER_NAMES.get(module, module)
    if not tag.startswith("!new:") or module not in MODULES:
        return None
    found = getattr(import_module(module), name, None)
    # Not what the module itself imports.
    own = getattr(found, "__module__", None) == module
    is_layer = isinstance(found, type) and issubclass(found, torch.nn.Module)
    return found if own and is_layer else None


def _construct(node, made):
    """Build what a checked node describes, each node once.

    HyperPyYAML would do it, but it reads a plain text in parentheses with a
    loader that calls whatever the text names.
    """
    if id(node) not in made:
        found = find_class(node.tag)
        if isinstance(node, MappingNode):
            named = {
                _construct(key, made): _construct(part, made)
                for key, part in node.value
            }
            value = found(**named) if found else named
        elif isinstance(node, SequenceNode):
            parts = [_construct(part, made) for part in node.value]
            value = found(*parts) if found else parts
        elif found:  # a class alone
            value = found()
        else:
            value = YAML(typ="safe").constructor.construct_object(node)
        made[id(node)] = value
    return made[id(node)]
