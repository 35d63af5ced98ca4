"""The picture and table of learning curves."""

import json
import re

import pandas as pd
import pytest
from matplotlib.image import imread
from plot_learning_curves import main, read_curves, tabulate
from polsess.errors import UserError
from scipy import stats

# kind and mixtures -> SI-SDRi of two test mixtures for each of three seeds
SCORES = {
    "stored-50": [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)],
    "mixed-50": [(3.0, 4.0), (4.0, 5.0), (5.5, 6.5)],
    "stored-100": [(5.0, 6.0), (6.0, 7.0), (7.0, 8.0)],
}


@pytest.fixture(name="results")
def make_results(tmp_path):
    """Write runs with the files that the tool reads."""
    for name, seeds in SCORES.items():
        for seed, scores in enumerate(seeds):
            run = tmp_path / name / str(seed)
            run.mkdir(parents=True)
            table = {"ID": ["a", "b"], "variant": "C"}
            table |= {"si_sdr_improvement": scores}
            pd.DataFrame(table).to_csv(run / "test.csv", index=False)
            best = 10 * seed + 1
            table = {"epoch": [best + 1, best], "train_loss": [9.0, -best]}
            pd.DataFrame(table).to_csv(run / "curve.csv", index=False)
            result = json.dumps({"best_epoch": best})
            (run / "result.json").write_text(result)
    return tmp_path


def test_means_and_paired_gains(results):
    table = tabulate(read_curves(results)).set_index(["kind", "mixtures"])
    assert list(table.index) == [("stored", 50), ("mixed", 50), ("stored", 100)]
    row = table.loc[("mixed", 50)]
    assert row["test"] == pytest.approx(14 / 3)
    assert row["train"] == pytest.approx((1 + 11 + 21) / 3)
    assert row["epoch"] == 11
    # Both mixtures gain 2, 2 and 2.5 dB: only the seeds vary.
    low, high = stats.t.interval(0.95, 2, 6.5 / 3, stats.sem([2, 2, 2.5]))
    assert row["gain"] == pytest.approx(6.5 / 3)
    assert row["gain_interval_low"] == pytest.approx(low)
    assert row["gain_interval_high"] == pytest.approx(high)
    assert pd.isna(table.loc[("stored", 50), "gain"])


def test_the_picture_is_drawn_and_the_table_printed(results, capsys):
    picture = results / "curves.png"
    main([str(results), "--output", str(picture)])
    assert imread(picture).std() > 0.01
    assert re.search(
        r"\| mixed \| 50 \| 3 \| 11 \| 11.00 \| 4.67 \| [\d.]+ to [\d.]+ "
        r"\| \+2.17 \| \+1.45 to \+2.88 \|\n",
        capsys.readouterr().out,
    )


def test_a_folder_without_finished_runs(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        main([str(tmp_path)])
