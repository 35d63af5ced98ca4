"""Exported models as SpeechBrain's own loaders read them.

The masking models become what ``SepformerSeparation.from_hparams`` reads, of
SpeechBrain's and torch's classes alone; SPMamba what ``foreign_class`` reads,
with the modules that it consists of.
"""

import json
import shutil
from pathlib import Path
from typing import TypeGuard

import torch

from polsess.models.separator import MaskingSeparator

# SpeechBrain's modules, and the parts of our masking separators.
PARTS = {"encoder": "encoder", "masknet": "mask_network", "decoder": "decoder"}
# Our faster blocks, the classes of SpeechBrain's with the same weights, and
# what these must be told.
MODELS = "speechbrain.lobes.models"
STOCK: dict[str, tuple[str, dict]] = {
    "polsess.models.convtasnet.MaskNet": (f"{MODELS}.conv_tasnet.MaskNet", {}),
    "polsess.models.sepformer.TransformerBlock": (
        f"{MODELS}.dual_path.SBTransformerBlock",
        {"norm_before": True},
    ),
}
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
    """Tell from how many samples on SpeechBrain computes what we do.

    We pad shorter mixtures further; SpeechBrain does not.

    Example
    -------
    >>> parts = [torch.nn.Identity()] * 3
    >>> shortest_mixture(MaskingSeparator(*parts, 16, minimum_frames=24))
    193
    """
    frames = separator.minimum_frames
    return separator.kernel_size + (frames - 2) * separator.stride + 1


def write_speechbrain(
    folder: Path, separator: torch.nn.Module, description: dict, settings: dict
) -> None:
    """Write all files that SpeechBrain's loaders need.

    Arguments
    ---------
    folder : Path
        Where to.
    separator : torch.nn.Module
        With its weights.
    description : dict
        Of the separator, as ``polsess.models.description`` has it.
    settings : dict
        With ``sample_rate`` in Hz and ``n_sources``.
    """
    if is_masking(separator):
        arguments = description["arguments"]
        networks = {name: arguments[part] for name, part in PARTS.items()}
        weights = {
            name: getattr(separator, part).state_dict()
            for name, part in PARTS.items()
        }
        # The encoder is the second of two layers: behind zeros for the frame
        # that the last samples do not fill. It drops those it does not need.
        weights["encoder"] = {
            f"1.{name}": tensor for name, tensor in weights["encoder"].items()
        }
        encoder = (
            "encoder: !new:torch.nn.Sequential\n"
            "  - !new:torch.nn.ConstantPad1d\n"
            f"    padding: [0, {separator.stride - 1}]\n"
            "    value: 0.0\n"
            f"  - {lay_out(networks.pop('encoder'), '    ')}\n"
        )
    else:
        networks = {"separator": description}
        weights = {"separator": separator.state_dict()}
        encoder = ""
        _copy_code(folder)
    for name, tensors in weights.items():
        torch.save(tensors, folder / f"{name}.ckpt")
    text = (
        "# For SpeechBrain; our own loader reads separator.json instead.\n"
        f"sample_rate: {settings['sample_rate']}  # Hz\n"
        f"num_spks: {settings['n_sources']}\n\n{encoder}"
    )
    for name, network in networks.items():
        text += f"{name}: {lay_out(network)}\n"
    references = "".join(f"  {name}: !ref <{name}>\n" for name in weights)
    loadables = references.replace("  ", "    ")
    text += (
        f"\nmodules:\n{references}\n"
        "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer\n"
        f"  loadables:\n{loadables}"
    )
    (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")


def lay_out(description: dict, indent: str = "") -> str:
    """Lay a description out as HyperPyYAML, with SpeechBrain's classes.

    Arguments
    ---------
    description : dict
        Of a network.
    indent : str
        Of the line that it begins in.

    Example
    -------
    >>> block = {"class": "polsess.models.convtasnet.MaskNet", "arguments": {}}
    >>> print(lay_out({"class": "a.B", "arguments": {"c": block, "d": 4}}))
    !new:a.B
      c: !new:speechbrain.lobes.models.conv_tasnet.MaskNet
      d: 4
    """
    name = description["class"]
    name, more = STOCK.get(name, (name, {}))
    lines = [f"!new:{name}"]
    for key, value in {**description["arguments"], **more}.items():
        inner = f"{indent}  "
        is_network = isinstance(value, dict)
        text = lay_out(value, inner) if is_network else json.dumps(value)
        lines.append(f"{inner}{key}: {text}")
    return "\n".join(lines)


def _copy_code(folder):
    """Copy the modules that SPMamba consists of, and its interface."""
    shutil.copyfile(INTERFACE, folder / INTERFACE.name)
    for pattern in SPMAMBA_CODE:
        for path in CODE.glob(pattern):
            copy = folder / "polsess" / path.relative_to(CODE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
