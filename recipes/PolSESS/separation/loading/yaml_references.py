"""References between the keys of a YAML file that may come from elsewhere.

HyperPyYAML also computes and joins what a reference names, and a short file can
make it do so for ever. Here ``!ref <name>`` stands for what the key ``name``
holds, and for nothing else.
"""

import re

from ruamel.yaml.nodes import MappingNode, Node

from loading.safe_yaml import DEEPEST, LARGEST

REFERENCE = re.compile(r"<(\w+)>")


def resolve(node: Node, keys: dict) -> Node:
    r"""Replace the references in a node.

    Arguments
    ---------
    node : ruamel.yaml.nodes.Node
        Is changed.
    keys : dict
        Key -> node, of the file; those that are referred to are changed too.

    Returns
    -------
    ruamel.yaml.nodes.Node
        The node, or what it refers to. What is referred to twice is one node.

    Raises
    ------
    ValueError
        If a reference is of another kind, or the result too large.

    Example
    -------
    >>> from ruamel.yaml import YAML
    >>> text = "size: 4\nsizes: [!ref <size>, 5]"
    >>> keys = {key.value: node for key, node in YAML().compose(text).value}
    >>> [part.value for part in resolve(keys["sizes"], keys).value]
    ['4', '5']
    """
    return _resolve(node, keys, {}, 0)[0]


def _resolve(node, keys, known, level):
    """Resolve a node once; give its size and depth as well."""
    size, depth = 1, 0
    if level > DEEPEST:
        raise ValueError(
            f"it is nested more than {DEEPEST} deep, or refers to itself"
        )
    if id(node) not in known:
        if node.tag == "!ref":
            target = _find_target(node, keys)
            known[id(node)] = _resolve(target, keys, known, level + 1)
        elif isinstance(node.value, list):
            is_mapping = isinstance(node, MappingNode)
            children = []
            for child in node.value:
                part = child[1] if is_mapping else child
                part, inner, deep = _resolve(part, keys, known, level + 1)
                children.append((child[0], part) if is_mapping else part)
                size += inner + is_mapping
                depth = max(depth, deep + 1)
            node.value = children
        known.setdefault(id(node), (node, size, depth))
    node, size, depth = known[id(node)]
    if size > LARGEST or depth > DEEPEST:
        raise ValueError(f"it holds more than {LARGEST} values, or is too deep")
    return node, size, depth


def _find_target(node, keys):
    """Find what a reference names."""
    named = REFERENCE.fullmatch(str(node.value))
    line = f"line {node.start_mark.line + 1}: !ref {node.value!s:.50}"
    if named is None:
        raise ValueError(f"{line} is more than <a key>; write its value")
    if named[1] not in keys:
        raise ValueError(f"{line}: there is no key {named[1]}")
    return keys[named[1]]
