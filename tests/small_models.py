"""Options that make the published models small enough for tests."""

from pathlib import Path

RECIPE = Path(__file__).parent.parent / "recipes/PolSESS"
SEPARATION = RECIPE / "separation"
HPARAMS = RECIPE / "hparams"

FLAG = object()  # the value of an option that takes none

CLOCKS = ["seconds", "cpu_seconds"]  # which differ between two equal runs

SMALL = {
    "convtasnet": {
        "encoder_filters": 64,
        "bottleneck_channels": 32,
        "block_channels": 64,
        "blocks": 4,
        "repeats": 1,
    },
    "dprnn": {
        "encoder_filters": 32,
        "dual_path_blocks": 1,
        "chunk_frames": 40,
        "hidden_channels": 32,
    },
    "sepformer": {
        "encoder_filters": 32,
        "dual_path_blocks": 1,
        "chunk_frames": 40,
        "transformer_layers": 1,
        "attention_heads": 4,
        "feedforward_channels": 64,
    },
    "spmamba": {
        "fft_size": 64,
        "hop_size": 32,
        "blocks": 1,
        "hidden_channels": 8,
        "unfold_size": 2,
        "attention_size": 64,
        "state_size": 4,
        "expansion": 2,
    },
}


def small_arguments(model, **options):
    """Make the arguments of ``train.py`` for a small model on the CPU.

    Arguments
    ---------
    model : str
        Name of the YAML file.
    **options : object
        Further options.

    Returns
    -------
    list of str
        The YAML file and ``--name value`` pairs.
    """
    settings = {
        "device": "cpu",
        "precision": "fp32",
        "num_workers": 0,
        "batch_size": 2,
        "valid_batch_size": 4,
        "number_of_epochs": 2,
        **SMALL[model],
        **options,
    }
    arguments = [str(HPARAMS / f"{model}.yaml")]
    for name, value in settings.items():
        arguments += (
            [f"--{name}"] if value is FLAG else [f"--{name}", str(value)]
        )
    return [*arguments, "--noprogressbar"]
