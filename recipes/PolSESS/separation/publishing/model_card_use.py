"""What an exported model's README.md says of loading it."""

import json
import shlex

from loading.trained_run import TrainedRun

from publishing.speechbrain_files import is_masking

OURS_USE = """\
import sys

# First of all, or Python would look where it was started.
sys.path.insert(0, "recipes/PolSESS/separation")
from interface import SpeechSeparation

model = SpeechSeparation.from_hparams({name})
estimates = model.separate_file("recording.wav")  # [1, time, sources]"""
MASKING_USE = """\
import torch
from speechbrain.inference.separation import SepformerSeparation

model = SepformerSeparation.from_hparams(source={name})
mixture = torch.randn(1, {samples})  # [batch, time]
estimates = model.separate_batch(mixture)  # [batch, time, sources]"""
SPMAMBA_USE = """\
import torch
from speechbrain.inference.interfaces import foreign_class

model = foreign_class(
    source={name},
    pymodule_file="custom_interface.py",
    classname="SPMambaSeparation",
)
mixture = torch.randn(1, {samples})  # [batch, time]
estimates = model.separate_batch(mixture)  # [batch, time, sources]"""
ONNX_USE = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({onnx})
mixture = np.random.randn(1, {samples}).astype("float32")  # [batch, time]
(estimates,) = session.run(None, {{"mixture": mixture}})"""


def describe_use(run: TrainedRun, name: str, difference: float | None) -> str:
    """Show how a model is loaded, by us and by others.

    Arguments
    ---------
    run : TrainedRun
        What is exported.
    name : str
        Of its folder.
    difference : float, None
        What ``write_onnx`` returned; None without ONNX.

    Returns
    -------
    str
        A section of the card, in Markdown.
    """
    masking = is_masking(run.separator)
    filled = {
        "name": json.dumps(name, ensure_ascii=False),
        "onnx": json.dumps(f"{name}/separator.onnx", ensure_ascii=False),
        "samples": 4 * run.settings["sample_rate"],
    }
    parts = [
        f"With the PolSESS recipes, where this folder, `{name}`, lies beside "
        "their folder `recipes`:",
        "```bash\npython recipes/PolSESS/separation/separate.py "
        f"{shlex.quote(name)} recording.wav --output separated\n```",
        f"```python\n{OURS_USE.format(**filled)}\n```",
        "This runs nothing that is in the folder: the network is built from "
        "`separator.yaml`, of known classes alone, and `separator.safetensors` "
        "holds nothing but tensors. Start Python beside the folder, as "
        "here, not in it: Python itself takes modules from where it starts.",
        "With SpeechBrain alone:",
        "```python\n"
        f"{(MASKING_USE if masking else SPMAMBA_USE).format(**filled)}\n```",
        "SpeechBrain runs whatever a model's `hyperparams.yaml` and Python "
        "files say, and its `.ckpt` files are pickles: load a model in this "
        "way only if you trust where it comes from.",
    ]
    if not masking:
        parts[-1] += (
            " It needs all of the folder, with links to it at most: from a "
            "hub, `source=huggingface_hub.snapshot_download(...)`. Beside "
            "SpeechBrain it needs numba (on a GPU mamba-ssm). Its modules are "
            "called `spmamba`, `spmamba_blocks` and `mamba`, and are found "
            "before others of these names; a process that has imported others "
            "already cannot load it, nor others after it."
        )
    if difference is not None:
        parts += [
            "With onnxruntime, whose estimates differed by "
            f"{difference:.0e} of the largest sample when this was made:",
            f"```python\n{ONNX_USE.format(**filled)}\n```",
        ]
    return "\n\n".join(parts)
