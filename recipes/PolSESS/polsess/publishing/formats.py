"""Exported models for SpeechBrain's own loaders and for onnxruntime.

For SpeechBrain, masking models are written for
``SepformerSeparation.from_hparams``, of SpeechBrain's and torch's classes
alone; SPMamba for ``foreign_class``, with its modules. ONNX takes the masking
models, for mixtures of any number and length; not SPMamba, whose Mamba layers
are compiled loops.
"""

import json
import shutil
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from polsess.errors import UserError
from polsess.models.convtasnet import MaskNet
from polsess.models.description import find_class
from polsess.models.dual_path import DualPathModel
from polsess.models.separator import MaskingSeparator
from polsess.models.sepformer import TransformerBlock

# SpeechBrain's modules, and the parts of our masking separators.
PARTS = {"encoder": "encoder", "masknet": "mask_network", "decoder": "decoder"}
# Our faster blocks, and additional arguments of SpeechBrain's classes with the
# same weights, from which they are derived
STOCK: dict[type, dict] = {
    MaskNet: {},
    DualPathModel: {},
    TransformerBlock: {"norm_before": True},
}
INTERFACE = Path(__file__).with_name("custom_interface.py")
CODE = Path(__file__).parent.parent
# All that SPMamba imports of this recipe.
SPMAMBA_CODE = (
    *("__init__.py", "errors.py", "models/__init__.py", "models/spmamba.py"),
    "models/mamba/*.py",
)
OPERATORS = 18  # of ONNX: their version
# Mixtures that the two are compared on: how many, and samples
COMPARED = (3, 32_001)
# Largest difference, relative to the largest sample of the estimates.
TOLERANCE = 2e-4


def shortest_mixture(separator: MaskingSeparator) -> int:
    """Compute the fewest samples for which SpeechBrain's estimates are ours.

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
        Folder for the files.
    separator : torch.nn.Module
        With its weights.
    description : dict
        Of the separator, as ``polsess.models.description`` has it.
    settings : dict
        With ``sample_rate`` in Hz and ``n_sources``.
    """
    if isinstance(separator, MaskingSeparator):
        arguments = description["arguments"]
        networks, weights = {}, {}
        for name, part in PARTS.items():
            networks[name] = arguments[part]
            # The encoder is the second of two layers: the first adds zeros to
            # complete the last frame. It drops those it does not need.
            prefix = "1." if name == "encoder" else ""
            weights[name] = getattr(separator, part).state_dict(prefix=prefix)
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
        Indentation of its first line.

    Example
    -------
    >>> block = {"class": "polsess.models.convtasnet.MaskNet", "arguments": {}}
    >>> network = {"class": "polsess.models.dual_path.DualPathModel"}
    >>> print(lay_out(network | {"arguments": {"c": block, "d": 4}}))
    !new:speechbrain.lobes.models.dual_path.Dual_Path_Model
      c: !new:speechbrain.lobes.models.conv_tasnet.MaskNet
      d: 4
    """
    used, arguments = find_class(description["class"]), description["arguments"]
    if used in STOCK:
        used, arguments = used.__bases__[0], arguments | STOCK[used]
    lines = [f"!new:{used.__module__}.{used.__name__}"]
    for key, value in arguments.items():
        inner = f"{indent}  "
        is_network = isinstance(value, dict)
        text = lay_out(value, inner) if is_network else json.dumps(value)
        lines.append(f"{inner}{key}: {text}")
    return "\n".join(lines)


def _copy_code(folder):
    """Copy SPMamba's modules and its interface."""
    shutil.copyfile(INTERFACE, folder / INTERFACE.name)
    for pattern in SPMAMBA_CODE:
        for path in CODE.glob(pattern):
            copy = folder / "polsess" / path.relative_to(CODE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def check_onnx(separator: torch.nn.Module) -> None:
    """Check, before anything is written, that ONNX can be exported."""
    if not isinstance(separator, MaskingSeparator):
        raise UserError("--onnx: SPMamba cannot be exported")
    if not (find_spec("onnx") and find_spec("onnxruntime")):
        raise UserError("--onnx: pip install onnx onnxruntime")


def write_onnx(separator: MaskingSeparator, path: Path) -> float:
    """Write a masking separator as ONNX, and compare the two.

    Its input ``mixture`` has the shape [batch, time], its output
    ``estimates`` [batch, time, n_sources], both in FP32. A mixture must have at
    least ``shortest_mixture`` samples.

    Arguments
    ---------
    separator : MaskingSeparator
        On the CPU, in evaluation mode.
    path : Path
        The ONNX file.

    Returns
    -------
    float
        The largest difference, relative to the largest sample.

    Raises
    ------
    UserError
        If onnxruntime does not compute the same.
    """
    # Imported here, since only ONNX needs it.
    import onnxruntime

    axes = {0: "batch", 1: "time"}
    # A length that is no whole number of frames.
    length = shortest_mixture(separator) + 8 * separator.kernel_size + 1
    with warnings.catch_warnings():
        # That it is the older exporter. The newer one had not finished DPRNN
        # after six minutes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            separator,
            (torch.randn(2, length),),
            path,
            input_names=["mixture"],
            output_names=["estimates"],
            dynamic_axes={"mixture": axes, "estimates": axes},
            opset_version=OPERATORS,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    mixture = torch.randn(COMPARED, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = separator(mixture).numpy()
    (theirs,) = session.run(None, {"mixture": mixture.numpy()})
    difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"--onnx: onnxruntime's estimates differ by {difference:.1e} of "
            "the largest sample; leave --onnx out"
        )
    return difference
