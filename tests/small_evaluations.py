"""Folders of runs with evaluations, written without training anything."""

import json

import numpy as np
import pandas as pd

VARIANTS = {"indoor": ("SER", "C"), "outdoor": ("SE", "C")}
ALL_VARIANTS = ("SER", "SE", "C")
SETTINGS = {"task": "SB", "lr": 0.001, "batch_size": 8, "number_of_epochs": 4}
SCENES = {"indoor": ("kitchen", "office"), "outdoor": ("park", "street")}
KNOWN = ["environment", "scene_class", "event_class", "ssr", "scene_offset"]
SCALES = {"si_sdr": 1.0, "sdr": 1.0, "pesq": 0.1, "stoi": 0.02}


def mixtures(count, seed=0):
    """Draw test mixtures: every second indoors, a row per variant.

    Returns a table with ID, variant, environment, scene_class, event_class,
    ssr, scene_offset and the SI-SDR in dB of each unprocessed source.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        environment = ("indoor", "outdoor")[number % 2]
        known = {
            "ID": f"m{number:04d}",
            "environment": environment,
            "scene_class": SCENES[environment][number // 2 % 2],
            "event_class": ("door", "cough", "bell")[number % 3],
            "ssr": float(generator.integers(-5, 6)),
            "scene_offset": -14 + 14 * generator.random(),
        }
        for variant in VARIANTS[environment]:
            level = known["scene_offset"] / 2 if variant != "C" else 0.0
            half = known["ssr"] / 2
            row = {**known, "variant": variant}
            row["mixture_1"] = round(level + half, 4)
            row["mixture_2"] = round(level - half, 4)
            rows.append(row)
    return pd.DataFrame(rows)


def scores_of(rows, improvements, metrics=("si_sdr",)):
    """Make a table of scores, as scores.csv has them.

    ``improvements`` in dB has a value a row of ``rows``; NaN is undefined.
    """
    mixture = rows[["mixture_1", "mixture_2"]].mean(axis=1)
    tables = []
    for metric in metrics:
        scale = SCALES[metric]
        gain = np.asarray(improvements) * scale
        table = rows[["ID", "variant"]].copy()
        table["metric"] = metric
        table["score"] = mixture * scale + gain
        table["mixture"] = mixture * scale
        table["improvement"] = gain
        for source in (1, 2):
            table[f"score_{source}"] = rows[f"mixture_{source}"] * scale + gain
        for source in (1, 2):
            table[f"mixture_{source}"] = rows[f"mixture_{source}"] * scale
        table[["estimate_1", "estimate_2"]] = 1, 2
        table[KNOWN] = rows[KNOWN]
        table["reason"] = np.where(np.isnan(gain), "it is silent", "")
        tables.append(table)
    return pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)


def write_training(folder, model, seed, settings):
    """Write what a training leaves: settings, curve and result.

    Returns the versions that it names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        **{"experiment_name": model, "seed": seed, **SETTINGS},
        "output_folder": str(folder),
        **settings,
    }
    write_json(folder / "settings.json", settings)
    valid = [1.0, 2.0, 2.5, 2.4]
    curve = pd.DataFrame(
        {
            "epoch": [1, 2, 3, 4],
            "variants": ["C R", "C R", "C R SR S", "SER SE"],
            "lr": [0.001, 0.001, 0.001, 0.0005],
            "train_loss": [-0.5, -1.5, -2.2, -2.6],
            "valid_si_sdr": valid,
            "valid_si_sdr_improvement": [value + 3 for value in valid],
            "valid_undefined": 0,
            "skipped_batches": 0,
            "seconds": 60.0,
        }
    )
    curve.to_csv(folder / "curve.csv", index=False)
    versions = {"python": "3.11.2", "torch": "2.14.1", "git_commit": "0" * 40}
    write_json(
        folder / "result.json",
        {
            "best_valid_si_sdr": 2.5,
            "best_epoch": 3,
            "epochs_run": 4,
            "seconds": 240.0,
            "parameters": 1000,
            "settings": settings,
            "versions": versions,
        },
    )
    return versions


def write_run(folder, scores, model, seed, settings=None, name="test", **info):
    """Write a run's folder: settings, curve, result and an evaluation.

    ``info`` replaces or adds values of evaluation.json; ``scores`` None
    writes a run that was not evaluated.
    """
    versions = write_training(folder, model, seed, settings or {})
    if scores is None:
        return folder
    metrics = list(dict.fromkeys(scores["metric"]))
    evaluation = folder / "evaluation" / name
    evaluation.mkdir(parents=True)
    scores.to_csv(evaluation / "scores.csv", index=False)
    write_json(
        evaluation / "evaluation.json",
        {
            **{"model": model, "seed": seed, "task": "SB", "parameters": 1000},
            **{"corpus": "PolSESS_small", "split": "test", "rows": "0a1b"},
            **{"data_folder": "/corpora/PolSESS_small", "sample_rate": 8000},
            "variants": [
                v for v in ALL_VARIANTS if v in set(scores["variant"])
            ],
            "metrics": metrics,
            "checkpoint": {"epoch": 3, "valid_si_sdr": 2.5},
            "device": "cpu",
            "seconds": {"separation": 2.0, "metrics": 1.0, "audio": 40.0},
            "versions": versions,
            "undefined": {
                m: int(scores[scores["metric"] == m]["score"].isna().sum())
                for m in metrics
            },
            **info,
        },
    )
    return folder


def write_json(path, value):
    """Write a JSON file."""
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def write_series(
    root, models, seeds=(42, 123, 456), count=20, metrics=("si_sdr",)
):
    """Write runs of models, each with a mean improvement in dB.

    ``models`` maps a name to that mean. Seeds deviate by 0.2 dB, utterances by
    1 dB. Returns the run folders, ``root/<name>/<seed>``.
    """
    rows = mixtures(count)
    generator = np.random.default_rng(1)
    folders = []
    for model, mean in models.items():
        for seed in seeds:
            noise = 0.2 * generator.standard_normal()
            gains = mean + noise + generator.standard_normal(len(rows))
            scores = scores_of(rows, gains, metrics)
            folder = root / model / str(seed)
            folders.append(write_run(folder, scores, model.lower(), seed))
    return folders
