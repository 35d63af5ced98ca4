"""The README.md of an exported model, as model hubs show it."""

import json
import shlex
from functools import partial
from pathlib import Path

from jinja2 import StrictUndefined, Template

from polsess.corpus.manifests import read_counts
from polsess.files import read_json, write_atomically
from polsess.inference.models import ExportedFiles, TrainedModel
from polsess.models.separator import MaskingSeparator
from polsess.publishing.formats import shortest_mixture
from polsess.run_folder import RunFiles, read_result, read_scores
from polsess.scoring.metrics import format_metrics, summarise_metrics

CARD = Path(__file__).with_name("card.md")
# Task -> description, and tag on model hubs
TASKS = {
    "SB": ("separates {} speakers who speak at once", "speech-separation"),
    "ES": ("extracts the first speaker", "speech-extraction"),
    "EB": ("removes the background from speech", "speech-enhancement"),
}
# Settings that the card lists
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
        The exported model.
    name : str
        Of the exported folder.
    licence : str, None
        Of the weights; None if not stated.
    difference : float, None
        Of ONNX, as ``write_onnx`` returns it; None without ONNX.
    """
    settings = run.settings
    corpus = Path(settings["data_folder"])
    path = corpus / "make_corpus.json"
    made = read_json(path) if path.exists() else {}
    network = run.separator
    shortest = None  # that SpeechBrain computes as we do
    if isinstance(network, MaskingSeparator):
        shortest = shortest_mixture(network)
    purpose, tag = TASKS[settings["task"]]
    # The tasks ES and EB have one target of two speakers.
    count = max(2, settings["n_sources"])
    speakers = "two" if count == 2 else str(count)
    tested = read_result(run.folder) or {}
    counts = tested.get("corpus") or read_counts(run.folder / "manifests") or {}
    polsess = any("indoor" in count for count in counts.values())
    text = Template(
        CARD.read_text(encoding="utf-8"),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    ).render(
        model=run,
        settings=settings,
        listed=LISTED,
        name=name,
        argument=shlex.quote(name),
        quote=partial(json.dumps, ensure_ascii=False),
        samples=4 * settings["sample_rate"],
        tag=tag,
        purpose=purpose.format(speakers),
        speakers=speakers,
        polsess=polsess,
        # The language of a user's speech is not known, nor whose speech it is
        # where the corpus is not at hand.
        polish=polsess
        and corpus.is_dir()
        and made.get("options", {}).get("speech") is None,
        licence=licence,
        corpus=corpus.name,
        sizes=_mixture_counts(run, counts),
        note=str(made.get("note", "")),
        shortest=shortest,
        difference=difference,
        scores=_format_scores(run, tested),
    )
    write_atomically(files.card, text)


def _mixture_counts(run, counts):
    """Count the mixtures of each split."""
    rows = {split: count["rows"] for split, count in counts.items()}
    limit = run.settings.get("train_size")
    if rows and limit:
        rows["train"] = min(rows["train"], limit)
    return [f"{count} {split}" for split, count in rows.items()]


def _format_scores(run, tested):
    """Format the scores by variant: an evaluation's, or the training's."""
    files = RunFiles(run.folder)
    checkpoint = dict(run.checkpoint)
    averaged = checkpoint.pop("averaged")
    evaluation = files.evaluation("test", averaged)
    path = files.averaged_scores if averaged else files.scores
    made = evaluation.description
    if made.exists() and read_json(made).get("checkpoint") == checkpoint:
        columns = ["variant", "metric", "score", "mixture", "improvement"]
        scores = read_scores(evaluation.scores, columns)
    elif path.exists() and tested.get("best_epoch") == checkpoint["epoch"]:
        scores = read_scores(path).assign(metric="si_sdr")
        scores.columns = scores.columns.str.removeprefix("si_sdr_")
        scores = scores.rename(columns={"si_sdr": "score"})
    else:
        return None
    return format_metrics(summarise_metrics(scores))
