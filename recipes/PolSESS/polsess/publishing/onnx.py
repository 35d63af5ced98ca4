"""A separator as an ONNX file, compared with onnxruntime.

The masking models become ONNX with mixtures of any number and length; SPMamba
does not, whose Mamba layers are compiled loops.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path

import onnxruntime
import torch

from polsess.errors import UserError
from polsess.models.separator import MaskingSeparator
from polsess.publishing.speechbrain_layout import is_masking, shortest_mixture

OPERATORS = 18  # their version
# Mixtures that the two are compared on: how many, and samples.
COMPARED = ((1, 8000), (2, 6001), (1, 32_000))
# Largest difference, relative to the largest sample of the estimates.
TOLERANCE = 2e-4


def check_onnx(separator: torch.nn.Module) -> None:
    """Check, before anything is written, that ONNX can be made.

    Arguments
    ---------
    separator : torch.nn.Module
        What is to be exported.

    Raises
    ------
    UserError
        If not.
    """
    if not is_masking(separator):
        raise UserError(
            "--onnx: SPMamba cannot be exported, since its Mamba layers are "
            "loops that numba compiles; leave --onnx out"
        )
    if find_spec("onnx") is None:
        raise UserError(
            "--onnx: torch needs the package onnx for it; pip install onnx"
        )


def write_onnx(separator: MaskingSeparator, path: Path) -> float:
    """Write a masking separator as ONNX, and compare the two.

    Its input ``mixture`` has the shape [batch, time], its output
    ``estimates`` [batch, time, n_sources], both in FP32. A mixture must have
    the samples that ``shortest_mixture`` tells.

    Arguments
    ---------
    separator : MaskingSeparator
        On the CPU, in evaluation mode.
    path : Path
        Where to.

    Returns
    -------
    float
        The largest difference, relative to the largest sample.

    Raises
    ------
    UserError
        If onnxruntime does not compute the same.
    """
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
    difference = _compare(separator, path)
    if not difference <= TOLERANCE:
        raise UserError(
            f"--onnx: onnxruntime's estimates differ by {difference:.1e} of "
            "the largest sample; leave --onnx out"
        )
    return difference


def _compare(separator, path):
    """Find the largest relative difference from onnxruntime's estimates."""
    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    generator = torch.Generator().manual_seed(0)
    differences = []
    for batch, length in COMPARED:
        length = max(length, shortest_mixture(separator))
        mixture = torch.randn(batch, length, generator=generator)
        with torch.no_grad():
            ours = separator(mixture)
        (theirs,) = session.run(None, {"mixture": mixture.numpy()})
        difference = (ours - torch.from_numpy(theirs)).abs().max()
        differences.append((difference / ours.abs().max()).item())
    return max(differences)
