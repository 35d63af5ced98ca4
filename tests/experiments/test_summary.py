"""The parameters of a search: table, warnings, picture."""

import numpy as np
import pytest
from experiments.statistics import correlation
from experiments.summary import edge_warnings, importances, parameter_table
from matplotlib.image import imread
from polsess.errors import UserError
from polsess.search.sweep import read_prior
from small_pools import make_trials
from small_trials import write_stage
from sweep import main

SPACE = {
    "x": read_prior("x", "loguniform(1e-4, 1)", ""),
    "y": read_prior("y", "uniform(0, 9, discrete=True)", ""),
}


def drawn_trials(count, function):
    """Draw trials from SPACE; their objective is a function of places."""
    places = np.random.default_rng(3).uniform(size=(count, 2)).round(4)
    rows = [
        (f"t{n}", "1", function(*at), 10 ** (4 * at[0] - 4), round(9 * at[1]))
        for n, at in enumerate(places)
    ]
    return make_trials(*rows, parameters=("x", "y"))


def test_the_table_of_parameters():
    trials = drawn_trials(20, lambda x, y: x - y**2)
    table = parameter_table(trials)
    pool = trials.pool
    for name, row in table.figures.set_index("parameter").iterrows():
        values, objective = pool[name].to_numpy(), pool["objective"].to_numpy()
        for kind, ranks in {"Pearson": False, "Spearman": True}.items():
            found = row[[kind, f"{kind}_ci_low", f"{kind}_ci_high"]]
            expected = correlation(values, objective, ranks)
            assert found.tolist() == pytest.approx(expected)
        assert row["best_high"] == values[:5].max()
    assert "space" not in table.figures
    # One that is large and the same in all trials, as a number of weights.
    trials.table["y"] = 2_634_817
    figures = parameter_table(trials).figures.set_index("parameter")
    assert figures["importance"]["y"] == pytest.approx(0, abs=1e-6)


def test_the_importance_is_the_part_of_the_variance():
    # Uniform over the logarithm: 4 x + 2 y has the variances 16/12 and 4/12.
    pool = drawn_trials(100, lambda x, y: 4 * x + 2 * y).pool
    found = importances(pool, SPACE)
    assert found.tolist() == pytest.approx([0.8, 0.2], abs=0.1)
    assert importances(pool[:9], SPACE).isna().all()


def test_status_shows_the_space_and_warns_at_its_edges(tmp_path, capsys):
    # The parameters grow with the SI-SDR, up to the end of the space.
    write_stage(tmp_path / "out/dprnn-stage1", list(range(101)))
    command = ["status", "dprnn", "--output", "out"]
    assert main([*command, "--figure", "new/stages.png"]) == 0
    printed = capsys.readouterr().out
    assert "| lr | loguniform(3e-4, 3e-3) | 0.0003 | 0.003 |" in printed
    # Of the best 26 half have the highest patience, and fewer than half lie in
    # the last tenth of another parameter.
    assert "Warning: lr_patience: half or more of the best 26" in printed
    assert "the upper end of uniform(1, 5, discrete=True)" in printed
    assert printed.count("Warning") == 1
    height, width, _ = imread("new/stages.png").shape
    assert width > 4 * height
    main([*command, "--figure", "stages.pdf"])
    main([*command, "--figure", "stages.svg"])
    with pytest.raises(UserError, match=r"stages\.doc: Format 'doc' is not"):
        main([*command, "--figure", "stages.doc"])
    with pytest.raises(UserError, match="no stage has a finished trial"):
        main(["status", "dprnn", "--output", "no", "--figure", "a.svg"])


def test_no_warning_without_a_space():
    assert edge_warnings(drawn_trials(20, lambda x, y: x)) == []
