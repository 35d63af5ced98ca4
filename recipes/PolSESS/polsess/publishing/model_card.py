"""The README.md of an exported model, as model hubs show it."""

import json
import shlex
from pathlib import Path

import pandas as pd

from polsess.corpus.metadata import ALL_VARIANTS, SPLITS
from polsess.errors import UserError
from polsess.files import read_json
from polsess.inference.models import ExportedFiles, TrainedModel
from polsess.publishing.formats import is_masking, shortest_mixture
from polsess.run_folder import RunFiles
from polsess.scoring.metrics import METRICS, summarise_metrics

CARD = Path(__file__).with_name("card.md")
MASKING = """\
from speechbrain.inference.separation import SepformerSeparation

model = SepformerSeparation.from_hparams(source={quoted})"""
SPMAMBA = """\
from speechbrain.inference.interfaces import foreign_class

model = foreign_class(
    source={quoted},
    pymodule_file="custom_interface.py",
    classname="SPMambaSeparation",
)"""
MORE_OF_SPMAMBA = """ It needs all of the folder, with links to it at most: \
from a hub, `source=huggingface_hub.snapshot_download(...)`. Beside \
SpeechBrain it needs numba (on a GPU mamba-ssm). Its modules are those of \
`polsess`; a process that has imported another copy of them takes that one."""
ONNX = """

With onnxruntime, whose estimates differed by {difference:.0e} of the largest \
sample when this was made:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({onnx})
mixture = np.random.randn(1, {samples}).astype("float32")  # [batch, time]
(estimates,) = session.run(None, {{"mixture": mixture}})
```"""
# Task -> what a network does, and what hubs call it.
TASKS = {
    "SB": ("separates two speakers who speak at once", "speech-separation"),
    "ES": ("extracts the first of two speakers", "speech-extraction"),
    "EB": (
        "removes the background from the speech of two speakers",
        "speech-enhancement",
    ),
}
# What the card lists of the settings.
LISTED = (
    *("number_of_epochs", "batch_size", "grad_accumulation_factor", "lr"),
    *("weight_decay", "max_grad_norm", "ema_decay", "precision", "seed"),
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
    path = Path(settings["data_folder"]) / "make_corpus.json"
    made = read_json(path) if path.exists() else {}
    front = ""
    if made.get("options", {}).get("speech") is None:
        front = "language: pl\n"  # that of a user's speech is not known
    if licence:
        front += f"license: {json.dumps(licence)}\n"
    filled = {
        "quoted": json.dumps(name, ensure_ascii=False),
        "samples": 4 * settings["sample_rate"],
        "onnx": json.dumps(f"{name}/separator.onnx", ensure_ascii=False),
        "difference": difference,
    }
    masking = is_masking(run.separator)
    more = "" if masking else MORE_OF_SPMAMBA
    if difference is not None:
        more += ONNX.format(**filled)
    purpose, tag = TASKS[settings["task"]]
    rows = [
        [f"`{n}`", json.dumps(settings[n])] for n in LISTED if n in settings
    ]
    text = CARD.read_text(encoding="utf-8").format(
        **filled,
        tag=tag,
        front=front,
        model=settings["experiment_name"],
        purpose=purpose,
        rate=settings["sample_rate"],
        parameters=run.parameters,
        averaged="averaged ones " if run.averaged else "",
        epoch=run.epoch,
        valid=run.valid_si_sdr,
        corpus=_describe_corpus(run, made),
        scores=_describe_scores(run),
        name=name,
        argument=shlex.quote(name),
        speechbrain=(MASKING if masking else SPMAMBA).format(**filled),
        more=more,
        limits="".join(f"- {limit}\n" for limit in _list_limits(run)),
        settings=_table(["setting", "value"], rows),
        licence=f"The weights: {licence}."
        if licence
        else "Whoever trained the model has not stated the weights' licence; "
        "the terms of the corpus may bear on it.",
    )
    files.card.write_text(text, encoding="utf-8")


def _describe_corpus(run, made):
    """Name the corpus, tell its size, and say if it is a stand-in."""
    sentences = [f"`{Path(run.settings['data_folder']).name}`."]
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
    if "note" in made:
        sentences.append(f"{str(made['note']).rstrip('.')}.")
    return " ".join(sentences)


def _describe_scores(run):
    """Tabulate the scores by variant: an evaluation's, or the training's."""
    suffix = "-averaged" if run.averaged else ""
    folder = run.folder / f"evaluation/test{suffix}"
    files = RunFiles(run.folder)
    path = files.averaged_scores if run.averaged else files.scores
    checkpoint = {"epoch": run.epoch, "valid_si_sdr": run.valid_si_sdr}
    evaluation = folder / "evaluation.json"
    if (
        evaluation.exists()
        and read_json(evaluation).get("checkpoint") == checkpoint
    ):
        scores = _read_table(folder / "scores.csv")
    elif path.exists():
        names = {
            "si_sdr": "score",
            "si_sdr_mixture": "mixture",
            "si_sdr_improvement": "improvement",
        }
        scores = _read_table(path).rename(columns=names).assign(metric="si_sdr")
    else:
        return "It has not been tested."
    summary = summarise_metrics(scores)
    metrics = list(summary.index.unique("metric"))
    rows = []
    for variant in ALL_VARIANTS:
        part = summary[summary.index.get_level_values("variant") == variant]
        if not part.empty:
            values = part.droplevel("variant")
            cells = [_cell(metric, values.loc[metric]) for metric in metrics]
            rows.append([variant, f"{values['count'].max():.0f}", *cells])
    titles = [METRICS[metric].title for metric in metrics]
    undefined = int(summary["undefined"].sum())
    note = f" {undefined} could not be computed." if undefined else ""
    return (
        "Means over the test split, in brackets the improvement over the "
        f"unprocessed mixture; higher is better.{note} The letters of a "
        "variant say what there was beside the speech: S scene, E event, R "
        "reverberation, C nothing.\n\n"
        + _table(["variant", "mixtures", *titles], rows)
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


def _list_limits(run):
    """List what it is not for."""
    if run.settings["task"] == "SB":
        yield (
            "Estimates come in no particular order, which can change from one "
            "recording, or part of one, to the next."
        )
    yield (
        "It was trained on mixtures of exactly two speakers; what it does with "
        "one or three was not measured."
    )
    if is_masking(run.separator):
        yield (
            "SpeechBrain and ours give the same estimates from "
            f"{shortest_mixture(run.separator)} samples on. Shorter mixtures "
            "ours continues with zeros; SpeechBrain's estimates differ then, "
            "or there is an error."
        )
