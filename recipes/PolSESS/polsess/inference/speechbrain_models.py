"""Models in the layout of SpeechBrain's public ones, loaded safely.

In a folder like that of ``speechbrain/sepformer-wsj02mix``, the file
``hyperparams.yaml`` describes an encoder, a mask network and a decoder, and
their weights stand in ``.ckpt`` files. SpeechBrain's ``SepformerSeparation``
runs whatever that YAML file says. Here only these three are built, of known
classes, with our faster blocks in place of SpeechBrain's.
"""

import hashlib
import inspect
import re
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from polsess.errors import UserError
from polsess.inference.safe_yaml import (
    DEEPEST,
    LARGEST,
    build_network,
    check_network,
    find_class,
    hash_description,
    nodes_of,
    read_keys,
)
from polsess.inference.trained_run import (
    TrainedRun,
    fill_separator,
    read_weights,
)
from polsess.models.separator import MaskingSeparator
from polsess.models.speechbrain_names import PARTS, STOCK
from speechbrain.lobes.models import dual_path

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


POINTER = b"version https://git-lfs"


def load_speechbrain_model(folder: Path) -> TrainedRun:
    """Load a model that SpeechBrain's ``SepformerSeparation`` loads.

    Arguments
    ---------
    folder : Path
        With ``hyperparams.yaml`` and the weights.

    Returns
    -------
    TrainedRun
        With the separator on the CPU, in evaluation mode. Nothing is known of
        its seed, its task, its epoch and its validation.

    Raises
    ------
    UserError
        If a file is missing or damaged, or describes anything else.
    """
    hparams_file = folder / "hyperparams.yaml"
    parts, checkpoints, numbers = _read_description(hparams_file)
    for part in parts.values():
        check_network(part, hparams_file)
    use_our_blocks(parts["masknet"])
    separator = _build(parts, hparams_file)
    weights = {
        f"{PARTS[part]}.{name}": tensor
        for part, path in checkpoints.items()
        for name, tensor in _read_part(path).items()
    }
    fill_separator(separator, weights, folder, hparams_file)
    _check_sources(separator.eval(), numbers["num_spks"], hparams_file)
    named = [(YAML().compose(name), node) for name, node in parts.items()]
    return TrainedRun(
        folder,
        {
            "experiment_name": folder.resolve().name,
            "seed": None,
            "task": None,
            "n_sources": numbers["num_spks"],
            "sample_rate": numbers["sample_rate"],
        },
        separator,
        epoch=None,
        valid_si_sdr=None,
        weights_checksum=_checksum_of(checkpoints.values()),
        description_hash=hash_description(
            MappingNode("tag:yaml.org,2002:map", named)
        ),
    )


def use_our_blocks(description: Node) -> None:
    """Put our faster blocks in place of SpeechBrain's of the same function.

    Arguments
    ---------
    description : ruamel.yaml.nodes.Node
        Of a mask network; is changed. A block with an option that ours has
        not, at another value than ours always has, stays SpeechBrain's.

    Example
    -------
    >>> text = (
    ...     "!new:speechbrain.lobes.models.dual_path.SBTransformerBlock "
    ...     "{num_layers: 1, d_model: 8, nhead: 2, norm_before: true}"
    ... )
    >>> node = YAML().compose(text)
    >>> use_our_blocks(node)
    >>> node.tag
    '!new:polsess.models.sepformer.TransformerBlock'
    """
    for node in nodes_of(description):
        for ours, (stock, told) in STOCK.items():
            if node.tag != stock or not isinstance(node, MappingNode):
                continue
            taken = inspect.signature(find_class(ours)).parameters
            defaults = {
                name: parameter.default
                for name, parameter in inspect.signature(
                    find_class(stock)
                ).parameters.items()
            }
            given = defaults | {
                key.value: _plain_value(value) for key, value in node.value
            }
            always = defaults | told
            if all(given[n] == always.get(n) for n in given if n not in taken):
                node.tag = ours
                node.value = [
                    pair for pair in node.value if pair[0].value in taken
                ]


def _plain_value(node):
    """Return what a node holds; None if it is no number, text or bool."""
    if not isinstance(node, ScalarNode) or find_class(node.tag):
        return None
    return YAML(typ="safe").constructor.construct_object(node)


def _read_description(hparams_file):
    """Find the parts' nodes, their weights' paths, and the numbers."""
    keys = read_keys(hparams_file)
    try:
        modules = _mapping(keys, "modules")
        nodes = {name: resolve(modules[name], keys) for name in PARTS}
        pretrainer = _mapping(keys, "pretrainer")
        loadables = {
            id(resolve(node, keys)): name
            for name, node in _mapping(pretrainer, "loadables").items()
        }
        files = {
            part: hparams_file.with_name(f"{loadables[id(node)]}.ckpt")
            for part, node in nodes.items()
        }
        numbers = {
            name: _plain_value(resolve(keys[name], keys))
            for name in ("sample_rate", "num_spks")
        }
    except KeyError as error:
        raise UserError(
            f"{hparams_file.parent}: was made by another program than "
            "export.py, and is no model of SpeechBrain's SepformerSeparation: "
            f"its {hparams_file.name} lacks {error}, or has no modules "
            f"{', '.join(PARTS)}, sample_rate, num_spks and a pretrainer with "
            "these modules as loadables"
        ) from error
    except ValueError as error:
        raise UserError(f"{hparams_file}: {error}") from error
    if "paths" in pretrainer:
        raise UserError(
            f"{hparams_file}: its pretrainer names paths of weights. Put "
            f"{', '.join(path.name for path in files.values())} beside the "
            "file, and remove the paths"
        )
    for name, value in numbers.items():
        if type(value) is not int or value < 1:
            raise UserError(
                f"{hparams_file}: {name} is {value!r}; give a whole number"
            )
    return nodes, files, numbers


def _mapping(keys, name):
    """Take a mapping's keys out of a mapping of nodes."""
    if not isinstance(keys[name], MappingNode):
        raise KeyError(name)
    return {key.value: node for key, node in keys[name].value}


def _build(parts, hparams_file):
    """Build a separator with new weights of its parts' descriptions."""
    built: list[Any] = [
        build_network(parts[name], hparams_file, name) for name in PARTS
    ]
    encoder, masknet, decoder = built
    fits = (
        isinstance(encoder, dual_path.Encoder)
        and isinstance(decoder, dual_path.Decoder)
        and encoder.in_channels == decoder.out_channels == 1
        and encoder.conv1d.kernel_size == decoder.kernel_size
        and encoder.conv1d.stride == decoder.stride
    )
    if not fits:
        raise UserError(
            f"{hparams_file}: its encoder and decoder are not an Encoder and a "
            "Decoder of speechbrain.lobes.models.dual_path for one channel, "
            "of the same kernel_size, with half of it as stride"
        )
    reaches = [
        layer.kernel_size[0] * layer.dilation[0]
        for layer in masknet.modules()
        if isinstance(layer, torch.nn.Conv1d)
    ]
    return MaskingSeparator(
        encoder,
        masknet,
        decoder,
        kernel_size=encoder.conv1d.kernel_size[0],
        # Mirrored at its ends, a convolution's input must be longer than its
        # padding.
        minimum_frames=max(reaches, default=1),
        complete_frames=False,
    )


def _read_part(path):
    """Read the weights of a part."""
    if not path.exists():
        raise UserError(
            f"{path}: is missing; download all of the model's files"
        )
    with open(path, "rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise UserError(
                f"{path}: stands for a file that Git LFS has not fetched; run "
                "`git lfs pull` in the folder"
            )
    return read_weights(path)


def _check_sources(separator, n_sources, hparams_file):
    """Check that the parts fit together, and give as many sources."""
    try:
        with torch.no_grad():
            estimates = separator(torch.zeros(1, separator.kernel_size))
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{hparams_file}: its modules do not fit together ({problem[:300]})"
        ) from error
    if estimates.shape[2] != n_sources:
        raise UserError(
            f"{hparams_file}: num_spks is {n_sources}, and its masknet gives "
            f"{estimates.shape[2]}"
        )


def _checksum_of(paths):
    """Hash files of weights."""
    checksum = hashlib.blake2b()
    for path in paths:
        with open(path, "rb") as file:
            checksum.update(hashlib.file_digest(file, "blake2b").digest())
    return checksum.hexdigest()
