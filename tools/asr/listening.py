"""Letting a recogniser hear mixtures, what was separated, and clean speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from objective import pit_si_sdr
from tqdm import tqdm

from asr.backends import at_speech_level
from asr.errors import RecognitionError
from asr.hypotheses import Hypotheses

if TYPE_CHECKING:
    from evaluation.sets import EvaluationSet
    from loading.trained_run import TrainedRun

# What is compared: name -> the streams that a recogniser hears.
AUDIO = {
    "clean": ("source 1", "source 2"),
    "separated": ("estimate 1", "estimate 2"),
    "mixture": ("mixture",),
}
# Clean speech is the same in all variants, and is heard once.
CLEAN = "clean"


def keys_of(name: str, variant: str, audio: str) -> list[tuple[str, ...]]:
    """Tell where the hypotheses of an utterance are.

    Arguments
    ---------
    name : str
        Of the mixture.
    variant : str
        Of the mixture.
    audio : str
        Name of ``AUDIO``.

    Returns
    -------
    list of tuple of str
        Name, variant and stream of each hypothesis, in the speakers' order.
    """
    shown = CLEAN if audio == "clean" else variant
    return [(name, shown, stream) for stream in AUDIO[audio]]


def listen(
    run: TrainedRun,
    test_set: EvaluationSet,
    recogniser: object,
    hypotheses: Hypotheses,
    device: str,
    quiet: bool = False,
) -> None:
    """Recognise everything that is not known yet.

    Arguments
    ---------
    run : TrainedRun
        The model that separates.
    test_set : EvaluationSet
        What it separates.
    recogniser : object
        As in ``backends``.
    hypotheses : Hypotheses
        Gets the texts.
    device : str
        Where to separate.
    quiet : bool
        Whether to show no progress.
    """
    separator, rate = run.separator.to(device), run.settings["sample_rate"]
    missing: dict = {}
    for example in test_set.examples:
        name = test_set.rows[example.row]["ID"]
        for audio in AUDIO:
            for key in keys_of(name, example.variant, audio):
                if key not in hypotheses.known:
                    missing.setdefault(key, example)
    by_example: dict = {}
    for key, example in missing.items():
        by_example.setdefault(example, []).append(key)
    bar = tqdm(total=len(missing), unit="recording", disable=quiet or None)
    with bar:
        for example, keys in by_example.items():
            streams = _streams(separator, test_set.dataset[example], device)
            for name, variant, stream in keys:
                text, reason = _recognise(recogniser, streams[stream], rate)
                hypotheses.add(
                    ID=name,
                    variant=variant,
                    audio=stream,
                    text=text,
                    reason=reason,
                )
                bar.update()


@torch.inference_mode()
def _streams(separator, item, device):
    """Separate a mixture; return all streams, estimates in sources' order."""
    mixture, targets = item["mixture"], item["targets"]
    estimates = separator(mixture.unsqueeze(0).to(device)).float().cpu()
    _, permutation = pit_si_sdr(estimates, targets.unsqueeze(0))
    estimates = estimates[0][:, permutation[0]]
    streams = {"mixture": mixture}
    for index in range(targets.shape[1]):
        streams[f"source {index + 1}"] = targets[:, index]
        streams[f"estimate {index + 1}"] = estimates[:, index]
    return {name: samples.numpy() for name, samples in streams.items()}


def _recognise(recogniser, samples, rate):
    """Recognise a stream; return the text and the reason of a failure."""
    if not np.isfinite(samples).all():
        return "", "the estimate is not finite"
    try:
        return recogniser.recognise(at_speech_level(samples), rate), ""
    except RecognitionError as error:
        return "", str(error) or "not recognised"
