"""Series files: those that come with the recipe, and mistakes."""

import re

import pytest
import yaml
from experiments.series import (
    check_seeds,
    read_series,
    train_series as main,
)
from polsess.errors import UserError
from small_series import HPARAMS, ROOT

SHIPPED = ROOT / "tools/series"


def keys_of(hparams):
    """List the keys of a model's YAML."""
    text = hparams.read_text(encoding="utf-8")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return {key.value for key, _ in node.value}


@pytest.mark.parametrize(
    "name, count", [("baselines", 12), ("dprnn_finalists", 15)]
)
def test_shipped_series(name, count, tmp_path, capsys):
    path = SHIPPED / f"{name}.yaml"
    seeds, runs = read_series(path)
    assert seeds == [42, 123, 456]
    assert len(seeds) * len(runs) == count
    for _, hparams, options in runs:
        assert options.keys() <= keys_of(hparams)
    assert main([str(path), "--table"]) == 0
    table = capsys.readouterr().out
    assert table.count("not started") == count
    assert not list(tmp_path.iterdir())  # the current folder


def test_baselines_are_the_published_models():
    _, runs = read_series(SHIPPED / "baselines.yaml")
    models = {hparams.stem: options for _, hparams, options in runs}
    assert models.keys() == {path.stem for path in HPARAMS.glob("*.yaml")}
    positions = {"use_positional_encoding": "false"}
    assert models.pop("sepformer") == positions
    assert not any(models.values())


def test_finalists_are_the_published_ones():
    _, runs = read_series(SHIPPED / "dprnn_finalists.yaml")
    assert [
        [name]
        + [
            float(options[key])
            for key in (
                *("lr", "weight_decay", "max_grad_norm"),
                *("lr_factor", "lr_patience"),
            )
        ]
        for name, _, options in runs
    ] == [
        ["fancy-sweep-62", 0.00125, 2.1e-5, 2.76, 0.863, 3],
        ["rose-sweep-41", 0.00150, 4.4e-5, 2.29, 0.799, 5],
        ["spring-sweep-67", 0.00114, 2.1e-6, 13.86, 0.542, 5],
        ["exalted-sweep-12", 0.00085, 4.8e-5, 3.80, 0.695, 3],
        ["sunny-sweep-2", 0.00082, 4.9e-5, 2.58, 0.768, 2],
    ]
    for _, hparams, options in runs:
        assert hparams.resolve() == HPARAMS / "dprnn.yaml"
        assert options["number_of_epochs"] == "80"
        assert options["early_stopping_patience"] == "15"
        stages = yaml.safe_load(options["curriculum"])
        text = hparams.read_text(encoding="utf-8")
        published = re.search(r"^curriculum:\n((?:  - .*\n)+)", text, re.M)
        published = yaml.safe_load(published[1])
        assert [stage.pop("epoch") for stage in stages] == [1, 4, 10]
        assert [stage.pop("epoch") for stage in published] == [1, 3, 5]
        assert stages == published


@pytest.mark.parametrize(
    "text, problem",
    [
        (None, "series.yaml: cannot be read"),
        ("", "series.yaml: give a mapping"),
        ("- a", "series.yaml: give a mapping"),
        ("text", "series.yaml: give a mapping"),
        ("a: [", "series.yaml: is not a series"),
        ("seeds: [1]", "series.yaml: no runs"),
        ("{seeds: [1], runs: []}", "series.yaml: no runs"),
        ("{seeds: [1], run: []}", "unknown key 'run'; did you mean runs?"),
        ("{runs: [a], seeds: [1]}", "series.yaml, run 1: give a mapping"),
        ("runs: [{name: a, hparam: H}]", "'hparam'; did you mean hparams?"),
        ("runs: [{name: a, xyz: H}]", "it has name, hparams, options"),
        ("runs: [{hparams: H}]", "run 1: name None"),
        ("runs: [{name: ../a, hparams: H}]", "run 1: name '../a'"),
        ("runs: [{name: a}]", "run 1: hparams None"),
        ("runs: [{name: a, hparams: no.yaml}]", r"there is no file .*no\.yaml"),
        ("runs: [{name: a, hparams: H, options: 3}]", "run 1: options 3"),
        (
            "runs: [{name: a, hparams: H, options: {seed: 3}}]",
            "run 1: options: seed: give --seeds",
        ),
        (
            "runs: [{name: a, hparams: H}, {name: a, hparams: H}]",
            "two runs have the name a",
        ),
        ("runs: [{name: a, hparams: H}]", "no seeds"),
        ("{runs: [{name: a, hparams: H}], seeds: 4}", "seeds: 4;"),
        ("{runs: [{name: a, hparams: H}], seeds: []}", "seeds: .*give"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, text, problem):
    path = tmp_path / "series.yaml"
    if text is not None:
        path.write_text(re.sub(r"\bH\b", str(HPARAMS / "dprnn.yaml"), text))
    with pytest.raises(UserError, match=problem):
        main([str(path)])


@pytest.mark.parametrize("seed", ["x", "-1", "1.5", 1.5, True, None, "", [1]])
def test_bad_seeds_are_named(seed):
    with pytest.raises(UserError, match="seeds: .* no whole number"):
        check_seeds([42, seed], "seeds")
    with pytest.raises(UserError, match="42 stands there twice"):
        check_seeds([42, "42"], "seeds")


@pytest.mark.parametrize(
    "options, problem",
    [
        (["--seeds", "4x"], "--seeds: '4x'"),
        (["--seed", "4"], "--seed: give --seeds instead"),
        (["--device", "cpu"], "--device: give --devices instead"),
        (["--lr", "1", "--lr", "2"], "--lr: give it once"),
        (["--lr", "1", "2"], "'2': options are given as --name value"),
        (["--lr", "1"], "no seeds; give e.g. --seeds 42"),
    ],
)
def test_mistakes_on_the_command_line_are_named(options, problem):
    with pytest.raises(UserError, match=problem):
        main([str(HPARAMS / "dprnn.yaml"), *options])
