"""What an exported model's README.md says."""

import json
import shlex
from pathlib import Path

import pandas as pd

from polsess.corpus.metadata import ALL_VARIANTS, SPLITS
from polsess.errors import UserError
from polsess.files import read_json
from polsess.inference.models import ExportedFiles, TrainedModel
from polsess.publishing.speechbrain_layout import is_masking, shortest_mixture
from polsess.run_folder import RunFiles
from polsess.scoring.metrics import METRICS, summarise_metrics

OURS_USE = """\
from polsess.inference import SpeechSeparation

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


def describe_use(run: TrainedModel, name: str, difference: float | None) -> str:
    """Show how a model is loaded, by us and by others.

    Arguments
    ---------
    run : TrainedModel
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
        "`separator.json`, of known classes alone, and `separator.safetensors` "
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


TASKS = {
    "SB": "separates two speakers who speak at once",
    "ES": "extracts the first of two speakers",
    "EB": "removes the background from the speech of two speakers",
}
TAGS = {
    "SB": "speech-separation",
    "ES": "speech-extraction",
    "EB": "speech-enhancement",
}
# What the card lists of the settings; all are in settings.json.
LISTED = (
    "train_size",
    "training_segment",
    "pretrained_weights",
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


def write_card(
    files: ExportedFiles,
    run: TrainedModel,
    name: str,
    licence: str | None,
    difference: float | None,
) -> None:
    """Write the card of a model.

    Arguments
    ---------
    files : ExportedFiles
        Of the model; the other files are there.
    run : TrainedModel
        What is exported.
    name : str
        Of the folder that it will be.
    licence : str, None
        Of the weights; None if nobody has stated it.
    difference : float, None
        What ``write_onnx`` returned; None without ONNX.
    """
    settings = run.settings
    sections = [
        _front_matter(settings, licence),
        f"# {settings['experiment_name']}\n\n"
        f"A network that {TASKS[settings['task']]}, at "
        f"{settings['sample_rate']} Hz, of {run.parameters:,} parameters, "
        "trained by the PolSESS recipes for SpeechBrain. The weights are "
        f"{'averaged ones ' if run.averaged else ''}of epoch {run.epoch}, with "
        f"an SI-SDR of {run.valid_si_sdr:.2f} dB in validation.",
        f"## Corpus\n\n{_corpus(run)}",
        f"## Scores\n\n{_scores(run)}",
        f"## How to use it\n\n{describe_use(run, name, difference)}",
        f"## Limits\n\n{_limits(run)}",
        f"## Training\n\n{_settings(settings)}",
        f"## Licence\n\n{_licence(licence)}",
    ]
    files.card.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _front_matter(settings, licence):
    """Lay out what model hubs read."""
    task = TAGS[settings["task"]]
    lines = [
        "library_name: speechbrain",
        "pipeline_tag: audio-to-audio",
        f"tags: [speechbrain, audio-source-separation, {task}, PolSESS]",
    ]
    made = _made_corpus(settings) or {}
    if made.get("options", {}).get("speech") is None:
        lines.append("language: pl")  # that of a user's speech is not known
    if licence:
        lines.append(f"license: {json.dumps(licence)}")
    return "\n".join(["---", *lines, "---"])


def _made_corpus(settings):
    """Read what make_corpus.py says of the corpus; None if another made it."""
    path = Path(settings["data_folder"]) / "make_corpus.json"
    return read_json(path) if path.exists() else None


def _corpus(run):
    """Name the corpus, tell its size, and say if it is a stand-in."""
    corpus = Path(run.settings["data_folder"])
    sentences = [f"`{corpus.name}`."]
    sizes = []
    for split in SPLITS:
        path = run.folder / f"manifests/{split}_all.csv"
        if path.exists():
            count = len(_read_table(path))
            limit = run.settings.get("train_size")
            if split == "train" and limit:
                count = min(count, limit)
            sizes.append(f"{count} {split}")
    if sizes:
        sentences.append(f"Mixtures: {', '.join(sizes)}.")
    made = _made_corpus(run.settings)
    if made is not None:
        sentences.append(f"{str(made.get('note', '')).rstrip('.')}.")
    return " ".join(sentences)


def _scores(run):
    """Tabulate the scores by variant, of the best source of them."""
    suffix = "-averaged" if run.averaged else ""
    folder = run.folder / f"evaluation/test{suffix}"
    if (folder / "evaluation.json").exists():
        evaluated = read_json(folder / "evaluation.json")
        same = {"epoch": run.epoch, "valid_si_sdr": run.valid_si_sdr}
        if evaluated.get("checkpoint") == same:
            return _by_variant(_read_table(folder / "scores.csv"))
    files = RunFiles(run.folder)
    path = files.averaged_scores if run.averaged else files.scores
    if not path.exists():
        return "It has not been tested."
    names = {
        "si_sdr": "score",
        "si_sdr_mixture": "mixture",
        "si_sdr_improvement": "improvement",
    }
    return _by_variant(
        _read_table(path).rename(columns=names).assign(metric="si_sdr")
    )


def _by_variant(scores):
    """Lay scores out, a row a variant."""
    summary = summarise_metrics(scores)
    metrics = list(summary.index.unique("metric"))
    rows = []
    for variant in ALL_VARIANTS:
        part = summary[summary.index.get_level_values("variant") == variant]
        if part.empty:
            continue
        values = part.droplevel("variant")
        cells = [_cell(metric, values.loc[metric]) for metric in metrics]
        rows.append([variant, f"{values['count'].max():.0f}", *cells])
    titles = ["variant", "mixtures"]
    titles += [METRICS[name].title for name in metrics]
    undefined = int(summary["undefined"].sum())
    note = f" {undefined} could not be computed." if undefined else ""
    return (
        "Means over the test split, in brackets the improvement over the "
        f"unprocessed mixture; higher is better.{note} The letters of a "
        "variant say what there was beside the speech: S scene, E event, R "
        f"reverberation, C nothing.\n\n{_table(titles, rows)}"
    )


def _cell(metric, row):
    """Show a mean and its improvement; a dash where there is none."""
    if pd.isna(row["score"]):
        return "–"
    decimals = METRICS[metric].decimals
    return f"{row['score']:.{decimals}f} ({row['improvement']:+.{decimals}f})"


def _read_table(path):
    """Read a table of the run."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error


def _table(titles, rows):
    """Lay a table out in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _limits(run):
    """Say what it is not for."""
    lines = [
        f"- It works at {run.settings['sample_rate']} Hz: `separate.py` and "
        "`separate_file` resample a recording, the others do not.",
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
    return (
        "The code: [Apache 2.0](https://www.apache.org/licenses/LICENSE-2.0). "
        f"{weights}"
    )
