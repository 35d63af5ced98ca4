"""Small models in the layout of those that SpeechBrain publishes.

SpeechBrain's own classes make them, and its own loader would fetch such a
folder from a hub.
"""

import torch
from hyperpyyaml import load_hyperpyyaml

MODELS = "speechbrain.lobes.models"
# What the published ones of any family have in common.
FRAME = f"""
sample_rate: 8000
num_spks: 2

Encoder: !new:{MODELS}.dual_path.Encoder
  kernel_size: 16
  out_channels: 32
%s
Decoder: !new:{MODELS}.dual_path.Decoder
  in_channels: 32
  out_channels: 1
  kernel_size: 16
  stride: 8
  bias: False

modules:
  encoder: !ref <Encoder>
  decoder: !ref <Decoder>
  masknet: !ref <MaskNet>

pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
  loadables:
    encoder: !ref <Encoder>
    decoder: !ref <Decoder>
    masknet: !ref <MaskNet>
"""
SEPFORMER_BLOCK = """
  num_layers: 1
  d_model: 32
  nhead: 4
  d_ffn: 64
  dropout: 0
  use_positional_encoding: true
  norm_before: true
"""
DUAL_PATH = f"""
MaskNet: !new:{MODELS}.dual_path.Dual_Path_Model
  num_spks: !ref <num_spks>
  in_channels: 32
  out_channels: 32
  num_layers: 1
  K: 40
  intra_model: !ref <intra>
  inter_model: !ref <inter>
  norm: ln
  linear_layer_after_inter_intra: %s
  skip_around_intra: true
"""
FAMILIES = {
    "sepformer": "".join(
        f"\n{name}: !new:{MODELS}.dual_path.SBTransformerBlock{SEPFORMER_BLOCK}"
        for name in ("intra", "inter")
    )
    + DUAL_PATH % "false",
    "dprnn": "".join(
        f"\n{name}: !new:{MODELS}.dual_path.SBRNNBlock\n"
        "  input_size: 32\n  hidden_channels: 32\n  num_layers: 1\n"
        "  bidirectional: true\n"
        for name in ("intra", "inter")
    )
    + DUAL_PATH % "true",
    "convtasnet": f"\nMaskNet: !new:{MODELS}.conv_tasnet.MaskNet\n"
    "  N: 32\n  B: 16\n  H: 32\n  P: 3\n  X: 3\n  R: 1\n"
    "  C: !ref <num_spks>\n  norm_type: gLN\n  causal: false\n"
    "  mask_nonlinear: relu\n",
    "resepformer": "".join(
        f"\n{name}: !new:{MODELS}.resepformer.SBTransformerBlock_wnormandskip"
        f"{SEPFORMER_BLOCK}  use_norm: true\n  use_skip: true\n"
        for name in ("intra", "memory")
    )
    + f"\nMaskNet: !new:{MODELS}.resepformer.ResourceEfficientSeparator\n"
    "  input_dim: 32\n  num_spk: 2\n  causal: false\n  unit: 16\n"
    "  segment_size: 30\n  layer: 1\n  mem_type: av\n"
    "  seg_model: !ref <intra>\n  mem_model: !ref <memory>\n",
}


def write_speechbrain_model(folder, family, change=None):
    """Write a model with drawn weights.

    Arguments
    ---------
    folder : Path
        Is made.
    family : str
        One of ``FAMILIES``.
    change : callable, None
        Changes the text of ``hyperparams.yaml``, and with it the network.

    Returns
    -------
    Path
        The folder.
    """
    text = FRAME % FAMILIES[family]
    text = change(text) if change else text
    folder.mkdir(parents=True)
    (folder / "hyperparams.yaml").write_text(text)
    torch.manual_seed(0)
    for name, module in load_hyperpyyaml(text)["modules"].items():
        with torch.no_grad():
            for parameter in module.parameters():  # norms are ones and zeros
                parameter += 0.05 * torch.randn_like(parameter)
        torch.save(module.state_dict(), folder / f"{name}.ckpt")
    return folder
