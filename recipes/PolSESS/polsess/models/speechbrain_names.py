"""SpeechBrain's names for our parts and blocks, to export and to load."""

# Its modules, and the parts of our masking separators.
PARTS = {"encoder": "encoder", "masknet": "mask_network", "decoder": "decoder"}
# Our faster blocks, the classes of SpeechBrain's with the same weights, and
# what these must be told.
MODELS = "!new:speechbrain.lobes.models"
STOCK = {
    "!new:polsess.models.convtasnet.MaskNet": (
        f"{MODELS}.conv_tasnet.MaskNet",
        {},
    ),
    "!new:polsess.models.sepformer.TransformerBlock": (
        f"{MODELS}.dual_path.SBTransformerBlock",
        {"norm_before": True},
    ),
}
