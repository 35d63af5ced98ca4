"""The cards of exported models."""

import json
import re
import shutil
from pathlib import Path

import export
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from polsess.errors import UserError
from polsess.inference.models import load_trained_run
from small_exports import MASKING, estimates_of
from small_models import SMALL

from speechbrain.inference.separation import SepformerSeparation


@pytest.mark.parametrize("model", SMALL)
def test_what_the_card_says_works(model, exported, tmp_path):
    folder = exported(model)
    (tmp_path / folder.name).symlink_to(folder)
    (tmp_path / "recipes").symlink_to(Path(export.__file__).parents[2])
    generator = np.random.default_rng(0)
    soundfile.write("recording.wav", generator.uniform(-0.1, 0.1, 8000), 8000)
    card = (folder / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(blocks) == 2 + (model in MASKING)
    for block in blocks:
        said = {}
        exec(block, said)
        assert said["estimates"].shape in ((1, 8000, 2), (1, 32_000, 2))


def test_the_card_is_one_for_hubs(exported, trained_runs, tmp_path):
    arguments = [str(trained_runs("dprnn")), "model", "--licence"]
    for wrong in ("CC BY 4.0", "x\ny: z"):
        with pytest.raises(UserError, match="give one as cc-by-4.0"):
            export.main([*arguments, wrong])
    export.main([*arguments, "cc-by-4.0"])
    _, front, card = (tmp_path / "model/README.md").read_text().split("---", 2)
    assert yaml.safe_load(front) == {
        "library_name": "speechbrain",
        "pipeline_tag": "audio-to-audio",
        "language": "pl",
        "license": "cc-by-4.0",
        "tags": [
            *("speechbrain", "audio-source-separation"),
            *("speech-separation", "PolSESS"),
        ],
    }
    assert "`PolSESS_small`. Mixtures: 10 train, 4 val, 4 test." in card
    front = (exported("dprnn") / "README.md").read_text().split("---")[1]
    assert "license" not in yaml.safe_load(front)


@pytest.mark.parametrize("speech, language", [(None, "pl"), ("mine", None)])
def test_the_language_of_own_recordings_is_not_guessed(
    speech, language, trained_runs, tmp_path
):
    corpus = tmp_path / "CORPUS"
    corpus.mkdir()
    made = {"note": "Made for a test.", "options": {"speech": speech}}
    (corpus / "make_corpus.json").write_text(json.dumps(made))
    run = shutil.copytree(trained_runs("dprnn"), tmp_path / "run")
    settings = json.loads((run / "settings.json").read_text())
    settings["data_folder"] = str(corpus)
    (run / "settings.json").write_text(json.dumps(settings))
    export.main([str(run), "model"])
    _, front, card = (tmp_path / "model/README.md").read_text().split("---", 2)
    assert yaml.safe_load(front).get("language") == language
    assert "Made for a test." in card
    # Where the corpus is not at hand, nobody knows whose speech it was.
    shutil.rmtree(corpus)
    export.main([str(run), "model", "--force"])
    front = (tmp_path / "model/README.md").read_text().split("---")[1]
    assert "language" not in yaml.safe_load(front)


@pytest.mark.parametrize("model", MASKING)
def test_the_card_says_from_which_length_on(model, exported, trained_runs):
    card = (exported(model) / "README.md").read_text()
    (shortest,) = map(int, re.findall(r"from (\d+) samples on", card))
    loaded = SepformerSeparation.from_hparams(source=str(exported(model)))
    separator = load_trained_run(trained_runs(model)).separator
    lengths = ((1, shortest), (1, shortest + 1))
    theirs = estimates_of(loaded.separate_batch, lengths)
    expected = estimates_of(separator, lengths)
    for found, wanted in zip(theirs, expected, strict=True):
        assert (found - wanted).abs().max() < 1e-5
    try:
        (shorter,) = estimates_of(loaded.separate_batch, ((1, shortest - 1),))
    except RuntimeError:
        return
    (wanted,) = estimates_of(separator, ((1, shortest - 1),))
    assert (shorter - wanted).abs().max() > 1e-5


def test_the_card_has_the_scores_of_the_evaluation(trained_runs, tmp_path):
    run = shutil.copytree(trained_runs("convtasnet"), tmp_path / "run")
    model = load_trained_run(run)
    folder = run / "evaluation/test"
    folder.mkdir(parents=True)
    row = {"ID": "a", "variant": "SER", "metric": "pesq", "score": 2.346}
    rows = [row | {"mixture": 1.5, "improvement": 0.846}]
    rows.append(row | {"ID": "b", "score": None, "mixture": 1.5})
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    checkpoint = dict(model.checkpoint)
    del checkpoint["averaged"]
    description = folder / "evaluation.json"
    description.write_text(json.dumps({"checkpoint": checkpoint}))
    export.main([str(run), "model", "--licence", "cc-by-4.0"])
    card = (tmp_path / "model/README.md").read_text()
    row = "PESQ SER 2.35 0.85 1.50 2 1"
    assert row.split() in [line.split() for line in card.splitlines()]
    assert "weights: cc-by-4.0." in card
    # Of an older checkpoint, so the training's own test counts.
    checkpoint["epoch"] += 1
    description.write_text(json.dumps({"checkpoint": checkpoint}))
    export.main([str(run), "model", "--force"])
    card = (tmp_path / "model/README.md").read_text()
    assert "PESQ" not in card
    tested = pd.read_csv(run / "test.csv")
    for variant, rows in tested.groupby("variant"):
        mean, gain = rows[["si_sdr", "si_sdr_improvement"]].mean()
        assert re.search(
            rf"{variant} +{mean:.2f} +{gain:.2f} .* {len(rows)} ", card
        )
    assert "has not stated the weights' licence" in card
    # That test was of another checkpoint, too.
    result = json.loads((run / "result.json").read_text())
    result["best_epoch"] += 1
    (run / "result.json").write_text(json.dumps(result))
    export.main([str(run), "model", "--force"])
    card = (tmp_path / "model/README.md").read_text()
    assert "It has not been tested." in card
