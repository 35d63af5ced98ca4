"""Building a separator from a YAML file that may come from elsewhere.

HyperPyYAML calls whatever a file names, and its loader constructs any Python
object. Here only the separator is built, and only of plain values and torch
modules of known files.
"""

from importlib import import_module

import torch
from hyperpyyaml import resolve_references
from prepare_polsess import UserError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, SequenceNode

# Their torch modules may be part of a separator.
MODULES = (
    "separator",
    "spmamba",
    "speechbrain.lobes.models.conv_tasnet",
    "speechbrain.lobes.models.dual_path",
)
PLAIN = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "seq", "map")
}
# What HyperPyYAML does not act upon while it resolves references, and
# references themselves, which are arithmetic at most.
INERT = ("!ref", "!copy", "!new:", "!name:", "!module:", "!apply:", "!tuple")


def build_separator(hparams_file):
    """Build the separator that a YAML file describes, and nothing else.

    Arguments
    ---------
    hparams_file : Path
        With the key ``separator``.

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
    >>> _ = path.write_text("separator: !new:spmamba.SPMamba {blocks: 1}")
    >>> type(build_separator(path)).__name__
    'SPMamba'
    """
    node = describe_separator(hparams_file)
    try:
        separator = _construct(node, {})
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{hparams_file}: its separator cannot be built ({error})"
        ) from error
    if not isinstance(separator, torch.nn.Module):
        raise UserError(f"{hparams_file}: its separator is no torch module")
    return separator


def describe_separator(hparams_file):
    """Find what a YAML file says of the separator, references resolved.

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
    try:
        text = hparams_file.read_text(encoding="utf-8")
        for node in nodes_of(YAML().compose(text)):
            if not (node.tag in PLAIN or node.tag.startswith(INERT)):
                raise _forbidden(node, text, hparams_file)
        resolved = resolve_references(text).getvalue()
        keys = {k.value: v for k, v in YAML().compose(resolved).value}
    except OSError as error:
        raise UserError(
            f"{hparams_file}: cannot be read ({error.strerror})"
        ) from error
    except UserError:
        raise
    except (YAMLError, ValueError, AttributeError, TypeError) as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{hparams_file}: is not a file of settings ({problem[:300]})"
        ) from error
    if "separator" not in keys:
        raise UserError(f"{hparams_file}: has no key 'separator'")
    for node in nodes_of(keys["separator"]):
        if node.tag not in PLAIN and _find_class(node.tag) is None:
            raise _forbidden(node, text, hparams_file)
    return keys["separator"]


def nodes_of(node):
    """Yield a YAML node and all nodes in it."""
    yield node
    children = node.value if isinstance(node.value, list) else []
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            yield from nodes_of(part)


def _find_class(tag):
    """Find the torch module that a tag names; None if it is none of ours."""
    module, _, name = tag.removeprefix("!new:").rpartition(".")
    if not tag.startswith("!new:") or module not in MODULES:
        return None
    found = getattr(import_module(module), name, None)
    # Not what the module itself imports.
    own = getattr(found, "__module__", None) == module
    is_layer = isinstance(found, type) and issubclass(found, torch.nn.Module)
    return found if own and is_layer else None


def _forbidden(node, text, hparams_file):
    """Make the error that names a tag, and its line where it can be told."""
    lines = enumerate(text.splitlines(), start=1)
    line = next((n for n, line in lines if node.tag in line), None)
    where = f", line {line}" if line else ""
    return UserError(
        f"{hparams_file}{where}: {node.tag} is refused. A separator is made of "
        f"plain values and of torch modules of {', '.join(MODULES)}, as "
        "!new:module.Class; other files are allowed in safe_yaml.py"
    )


def _construct(node, made):
    """Build what a checked node describes, each node once.

    HyperPyYAML would do it, but it reads a plain text in parentheses with a
    loader that calls whatever the text names.
    """
    if id(node) not in made:
        found = _find_class(node.tag)
        if isinstance(node, MappingNode):
            value = {
                _construct(key, made): _construct(part, made)
                for key, part in node.value
            }
            value = found(**value) if found else value
        elif isinstance(node, SequenceNode):
            value = [_construct(part, made) for part in node.value]
            value = found(*value) if found else value
        elif found:  # a class alone
            value = found()
        else:
            value = YAML(typ="safe").constructor.construct_object(node)
        made[id(node)] = value
    return made[id(node)]
