#!/usr/bin/env python3
r"""Draw learning curves: SI-SDRi over the number of stored training mixtures.

> python tools/run_series.py tools/series/learning_curves.yaml \
    --data_folder CORPUS --output RESULTS
> python tools/plot_learning_curves.py RESULTS --output learning_curves.png

RESULTS has finished runs of that series, ``KIND-MIXTURES/SEED``. Prints a table
of means over seeds and mixtures, with the intervals of compare_runs.py, and
draws side by side the test and the training: the mean SI-SDR, in the best
epoch, of the examples that the model was trained on (its negative loss).
"""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from experiments.figures import STYLE, add_legend, model_styles, save_figure
from experiments.statistics import mean_interval
from experiments.tables import Table
from polsess.commands import make_parser, run
from polsess.errors import UserError
from polsess.files import read_json

NAME = re.compile(r"(.+)-(\d+)")
IMPROVEMENT = "si_sdr_improvement"
COLUMNS = [
    ("training", "kind", ""),
    ("stored mixtures", "mixtures", ""),
    ("seeds", "seeds", ""),
    ("best epoch", "epoch", ".0f"),
    ("SI-SDR in training, dB", "train", ".2f"),
    ("SI-SDRi in test, dB", "test", ".2f"),
    ("its 95 % CI", "test_interval", ".2f"),
    ("gain, dB", "gain", "+.2f"),
    ("the gain's 95 % CI", "gain_interval", "+.2f"),
]


def read_curves(results: Path) -> dict:
    """Read the runs of a series.

    Returns
    -------
    dict
        (kind, mixtures) -> seed -> test scores in dB as a Series by ID and
        variant, SI-SDR in training in dB, best epoch.

    Raises
    ------
    UserError
        If no run is finished.
    """
    found: dict = {}
    for test in sorted(results.glob("*-*/*/test.csv")):
        if name := NAME.fullmatch(test.parent.parent.name):
            scores = pd.read_csv(test).set_index(["ID", "variant"])
            epoch = read_json(test.with_name("result.json"))["best_epoch"]
            curve = pd.read_csv(test.with_name("curve.csv")).set_index("epoch")
            seeds = found.setdefault((name[1], int(name[2])), {})
            seeds[test.parent.name] = (
                scores[IMPROVEMENT].dropna(),
                -curve["train_loss"][epoch],
                epoch,
            )
    if not found:
        raise UserError(
            f"{results}: no finished run, KIND-MIXTURES/SEED with test.csv; "
            "run_series.py trains them"
        )
    return found


def tabulate(curves: dict) -> pd.DataFrame:
    """Compute means and intervals, a row per kind and number of mixtures.

    The gain is that over the kind which comes last in the alphabet, paired by
    mixture and seed; of the seeds that both have.
    """
    reference = max(kind for kind, _ in curves)
    rows = []
    for (kind, mixtures), seeds in sorted(curves.items(), reverse=True):
        tests, trained, epochs = zip(*seeds.values(), strict=True)
        values = pd.concat(tests, axis=1).dropna().T.to_numpy()
        row = {"kind": kind, "mixtures": mixtures, "seeds": len(seeds)}
        row |= {"epoch": np.mean(epochs), "train": np.mean(trained)}
        row |= _mean("test", values) | {"seed_means": values.mean(axis=1)}
        others = curves.get((reference, mixtures), {})
        both = [seed for seed in seeds if seed in others]
        if kind != reference and both:
            gains = [seeds[seed][0] - others[seed][0] for seed in both]
            row |= _mean("gain", pd.concat(gains, axis=1).dropna().T.to_numpy())
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.sort_values(["mixtures", "kind"], ascending=[True, False])


def _mean(name, values):
    """Compute the mean of values [seeds, mixtures], and its interval."""
    low, high = mean_interval(values)
    ends = {f"{name}_interval_low": low, f"{name}_interval_high": high}
    return {name: values.mean()} | ends


def draw(table: pd.DataFrame, output: Path) -> None:
    """Draw test (its seeds as small dots) and training over the mixtures."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 4), sharex=True, sharey=True)
    styles = model_styles(sorted(table["kind"].unique(), reverse=True))
    for kind, style in styles.items():
        rows = table[table["kind"] == kind]
        seeds = rows.explode("seed_means")
        dots = style | {"linestyle": "", "markersize": 3}
        axes[0].plot(rows["mixtures"], rows["test"], **style)
        axes[0].plot(seeds["mixtures"], seeds["seed_means"], **dots)
        axes[1].plot(rows["mixtures"], rows["train"], **style)
    sizes = sorted(table["mixtures"].unique())
    axes[0].set(xscale="log", xticks=sizes, xticklabels=sizes)
    axes[0].minorticks_off()
    axes[0].set(title="test: SI-SDRi", ylabel="dB")
    axes[1].set(title="training: SI-SDR of its own examples")
    figure.supxlabel("stored training mixtures", fontsize=11)
    add_legend(figure, styles)
    save_figure(figure, output)


def main(arguments: list[str]) -> None:
    """Draw the runs of a command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("results", type=Path, metavar="RESULTS", help="folder of the series")
    text = "picture to write (default: %(default)s)"
    add("--output", type=Path, default="learning_curves.png", help=text)
    options = parser.parse_args(arguments)
    table = tabulate(read_curves(options.results))
    print(Table("Learning curves", table, COLUMNS).markdown())
    with plt.style.context(STYLE):
        draw(table, options.output)
    print(f"\nWrote {options.output}")


if __name__ == "__main__":
    run(main)
