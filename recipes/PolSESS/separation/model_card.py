"""What an exported model's README.md says."""

import json
from pathlib import Path

import pandas as pd
from evaluation_tables import summarise_metrics
from metrics import METRICS
from prepare_polsess import UserError
from run_files import RunFiles, read_json
from scores import summarise
from speechbrain_files import is_masking, shortest_mixture

TASKS = {
    "SB": "separates two speakers who speak at once",
    "ES": "extracts the first of two speakers",
    "EB": "removes the background from the speech of two speakers",
}
# What the card lists of the settings; all are in settings.json.
LISTED = (
    "train_size",
    "training_segment",
    "number_of_epochs",
    "batch_size",
    "grad_accumulation_factor",
    "lr",
    "weight_decay",
    "max_grad_norm",
    "lr_factor",
    "lr_patience",
    "ema_decay",
    "precision",
    "seed",
)


def write_card(files, run, description, licence):
    """Write the card of a model.

    Arguments
    ---------
    files : ExportedFiles
        Of the model; the other files are there.
    run : TrainedRun
        What is exported.
    description : dict
        What ``model.json`` says.
    licence : str, None
        Of the weights; None if nobody has stated it.
    """
    settings, checkpoint = run.settings, description["checkpoint"]
    rate = settings["sample_rate"]
    sections = [
        _front_matter(licence),
        f"# {settings['experiment_name']}\n\n"
        f"A network that {TASKS[settings['task']]}, at {rate} Hz, trained by "
        f"the PolSESS recipes on {_corpus(description, run)} It has "
        f"{run.parameters:,} parameters; the weights are "
        f"{'averaged ones ' if run.averaged else ''}of epoch "
        f"{checkpoint['epoch']}, with {checkpoint['valid_si_sdr']:.2f} dB "
        "SI-SDR in validation.",
        f"## Scores\n\n{_scores(run)}",
        f"## How to use it\n\n{_use(files, run)}",
        f"## Limits\n\n{_limits(run)}",
        f"## Training\n\n{_settings(settings)}",
        f"## Licence\n\n{_licence(licence)}",
    ]
    files.card.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _front_matter(licence):
    """What model hubs read."""
    lines = ["library_name: speechbrain", "language: pl"]
    lines += ["tags: [speech-separation, PolSESS]"]
    if licence:
        lines.append(f"license: {json.dumps(licence)}")
    return "\n".join(["---", *lines, "---"])


def _corpus(description, run):
    """Name the corpus, and say if it is a stand-in."""
    note = ""
    path = Path(run.settings["data_folder"], "make_corpus.json")
    if path.exists():
        content = read_json(path)
        note = f" ({str(content.get('note', '')).rstrip('.')})"
    return f"the corpus {description['corpus']}{note}."


def _scores(run):
    """Tabulate the scores by variant, of the best source of them."""
    suffix = "-averaged" if run.averaged else ""
    folder = run.folder / f"evaluation/test{suffix}"
    if (folder / "evaluation.json").exists():
        evaluated = read_json(folder / "evaluation.json")
        same = {"epoch": run.epoch, "valid_si_sdr": run.valid_si_sdr}
        if evaluated.get("checkpoint") == same:
            return _evaluated(folder)
    files = RunFiles(run.folder)
    path = files.averaged_scores if run.averaged else files.scores
    if not path.exists():
        return "It has not been tested."
    summary = summarise(_read_scores(path)).reset_index()
    rows = [
        [
            row["variant"],
            _number(row["si_sdr"], 2),
            _number(row["si_sdr_improvement"], 2),
            _number(row["si_sdr_mixture"], 2),
            str(row["count"]),
        ]
        for row in summary.to_dict("records")
    ]
    titles = ["variant", "SI-SDR dB", "improvement", "mixture", "mixtures"]
    return (
        "Means over the test split, as the training measured them "
        "(`evaluate.py` has not been run for other metrics).\n\n"
        f"{_table(titles, rows)}"
    )


def _evaluated(folder):
    """Tabulate what evaluate.py measured."""
    summary = summarise_metrics(_read_scores(folder / "scores.csv"))
    rows = []
    for row in summary.reset_index().to_dict("records"):
        metric = METRICS[row["metric"]]
        values = [row[name] for name in ("score", "improvement", "mixture")]
        rows.append(
            [metric.title, row["variant"]]
            + [_number(value, metric.decimals) for value in values]
            + [str(row["count"])]
        )
    titles = ["metric", "variant", "score", "improvement", "mixture"]
    return (
        "Means over the test split; 'mixture' is the unprocessed mixture's. "
        "The letters of a variant say what there was beside the speech: S "
        "scene, E event, R reverberation, C nothing.\n\n"
        f"{_table([*titles, 'mixtures'], rows)}"
    )


def _read_scores(path):
    """Read a table of scores."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error


def _number(value, decimals):
    """Round a mean; a dash where there is none."""
    return "–" if pd.isna(value) else f"{value:.{decimals}f}"


def _table(titles, rows):
    """Lay a table out in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


MASKING_USE = """\
from speechbrain.inference.separation import SepformerSeparation

model = SepformerSeparation.from_hparams(source="THIS_FOLDER")
estimates = model.separate_batch(mixture)  # [batch, time, sources]"""
SPMAMBA_USE = """\
from speechbrain.inference.interfaces import foreign_class

model = foreign_class(
    source="THIS_FOLDER",  # all of it, downloaded before
    pymodule_file="custom_interface.py",
    classname="SPMambaSeparation",
)
estimates = model.separate_batch(mixture)  # [batch, time, sources]"""
ONNX_USE = """\
import onnxruntime

session = onnxruntime.InferenceSession("THIS_FOLDER/separator.onnx")
(estimates,) = session.run(None, {"mixture": mixture})  # float32"""


def _use(files, run):
    """Show how it is loaded, by us and by others."""
    use = MASKING_USE if is_masking(run.separator) else SPMAMBA_USE
    text = (
        "With the PolSESS recipes, in `recipes/PolSESS/separation`:\n\n"
        "```\npython separate.py THIS_FOLDER recording.wav --output OUT\n```\n"
        "\nor in Python\n\n```python\nfrom exported_model import load_model\n\n"
        'separator = load_model("THIS_FOLDER").separator\n'
        "estimates = separator(mixture)  # [batch, time, sources]\n```\n\n"
        "This runs nothing that is in the folder: the network is built from "
        "`separator.yaml`, of known classes alone, and `separator.safetensors` "
        "holds nothing but tensors.\n\n"
        f"With SpeechBrain alone:\n\n```python\n{use}\n```\n\n"
        "SpeechBrain runs whatever a model's `hyperparams.yaml` and Python "
        "files say, and its `.ckpt` files are pickles: load a model in this "
        "way only if you trust where it comes from."
    )
    if not is_masking(run.separator):
        text += " `foreign_class` needs numba as well (on a GPU mamba-ssm)."
    if files.onnx.exists():
        text += f"\n\nWith onnxruntime:\n\n```python\n{ONNX_USE}\n```"
    return text


def _limits(run):
    """Say what it is not for."""
    lines = [
        f"- Mixtures must be sampled at {run.settings['sample_rate']} Hz.",
        "- Estimates come in no particular order, which can change from one "
        "recording, or part of one, to the next.",
        "- It was trained on mixtures of exactly two speakers; what it does "
        "with one or three was not measured.",
    ]
    if run.settings["task"] != "SB":
        del lines[1]
    if is_masking(run.separator):
        lines.append(
            "- SpeechBrain and ours give the same estimates from "
            f"{shortest_mixture(run.separator)} samples on. Shorter mixtures "
            "ours continues with zeros; SpeechBrain's estimates differ then, "
            "or there is an error."
        )
    return "\n".join(lines)


def _settings(settings):
    """List the main settings."""
    rows = [
        [f"`{name}`", json.dumps(settings[name])]
        for name in LISTED
        if name in settings
    ]
    return f"{_table(['setting', 'value'], rows)}\n\nAll: `settings.json`."


def _licence(licence):
    """State the licences."""
    weights = (
        f"The weights: {licence}."
        if licence
        else "Whoever trained the model has not stated the weights' licence; "
        "the terms of the corpus may bear on it."
    )
    return f"The code: Apache 2.0. {weights}"
