"""Sweep files: the published ones, Orion's part, priors, and mistakes."""

import copy
import shlex

import orion.core
import pytest
import yaml
from orion.core.io.orion_cmdline_parser import OrionCmdlineParser
from orion.core.io.space_builder import SpaceBuilder
from orion.executor.base import executor_factory
from polsess.errors import UserError
from polsess.search.early_termination import Hyperband, Median
from polsess.search.sweep import (
    EXPERIMENT,
    SWEEPS,
    WORKER,
    read_prior,
    read_sweep_file,
)
from polsess.training.settings import read_defaults
from small_models import HPARAMS, SEPARATION
from small_sweeps import SMALL_SWEEP, write_sweep
from sweep_file import format_command, main

FILES = sorted(SWEEPS.glob("*.yaml"))
MODELS = ("convtasnet", "dprnn", "sepformer", "spmamba")
STAGES = ("stage1", "stage2", "stage3a", "stage3b")

# The experiment log's table: mixtures, epochs, patience, rule, the space in
# the order lr, weight decay, clip, factor, patience; runs (finished), best,
# mean, hours; first epoch of the curriculum's last stage.
HYPERBAND = Hyperband(min_iter=10, eta=3, s=2)
PUBLISHED = {
    "stage1": (
        *(2000, 50, 12, HYPERBAND),
        [(3e-4, 3e-3), (1e-6, 1e-4), (0.5, 20), (0.3, 0.95), (1, 5)],
        *((91, 42, 1.75, 1.15, 19.8), 6),
    ),
    "stage2": (
        *(4000, 60, 15, HYPERBAND),
        [(5e-4, 2e-3), (1e-6, 5e-5), (0.5, 20), (0.38, 0.95), (1, 5)],
        *((131, 48, 3.06, 2.47, 149.8), 8),
    ),
    "stage3a": (
        *(8000, 80, 15, HYPERBAND),
        [(7e-4, 2e-3), (1e-6, 5e-5), (0.5, 20), (0.38, 0.95), (2, 5)],
        *((69, 25, 4.08, 3.51, 47.6), 8),
    ),
    "stage3b": (
        *(8000, 80, 15, Median(from_epoch=20, patience=5)),
        [(7e-4, 2e-3), (1e-6, 5e-5), (0.5, 20), (0.38, 0.95), (2, 5)],
        *((41, 40, 3.74, 3.46, 57.1), 8),
    ),
}


BY_IMPROVEMENTS = Hyperband(min_iter=10, eta=3, s=2, count="improvements")
LATER = Hyperband(min_iter=15, eta=3, s=2, count="improvements")
STAGE3 = [(6e-4, 2.5e-3), (1.5e-7, 2e-4), (0.1, 14), (0.3, 0.9), (2, 5)]
SEPFORMER = [(5e-5, 3e-3), (1e-6, 1e-4), (0.5, 15), (0.3, 0.95), (1, 4)]
# The same of the runs themselves; mean and hours are not known of the others.
AS_RUN = {
    "dprnn_stage1": (
        *(2000, 50, 12, BY_IMPROVEMENTS),
        [(1e-5, 1e-2), (1e-7, 1e-3), (0.1, 15), (0.3, 0.95), (2, 6)],
        *((91, 42, 1.75, 1.15, 19.8), 6),
    ),
    "dprnn_stage2": (
        *(4000, 60, 15, BY_IMPROVEMENTS),
        [(5e-4, 5e-3), (1.2e-7, 5e-4), (0.1, 14), (0.3, 0.9), (1, 5)],
        *((132, 48, 3.06, 2.47, 48.65), 8),
    ),
    "dprnn_stage3a": (
        *(8000, 80, 15, BY_IMPROVEMENTS, STAGE3),
        *((69, 25, 4.08, 3.51, 47.6), 8),
    ),
    "dprnn_stage3b": (
        *(8000, 80, 15, None, STAGE3, (41, 40, 3.74, 3.46, 57.1), 8),
    ),
    "convtasnet_stage1": (
        *(2000, 50, 10, LATER),
        [(1e-4, 1e-2), (1e-6, 1e-4), (0.5, 15), (0.3, 0.95), (1, 6)],
        *((27, 21, 1.41, None, None), 5),
    ),
    "convtasnet_stage2": (
        *(8000, 80, 15, LATER),
        [(3e-4, 1.5e-3), (1e-6, 1e-4), (1.5, 15), (0.3, 0.95), (2, 4)],
        *((34, 11, 3.36, None, None), 6),
    ),
    "sepformer_stage1": (
        *(2000, 50, 12, BY_IMPROVEMENTS, SEPFORMER),
        *((19, 7, -1.15, None, None), 5),
    ),
    "sepformer_stage2": (
        *(8000, 80, 15, LATER, SEPFORMER, (41, 11, 4.30, None, None), 6),
    ),
    "spmamba_stage1": (
        *(2000, 50, 10, BY_IMPROVEMENTS),
        [(1e-4, 3e-3), (1e-6, 1e-4), (0.5, 10), (0.3, 0.9), (1, 4)],
        *((19, 6, 2.84, None, None), 5),
    ),
    "spmamba_stage2": (
        *(8000, 80, 10, BY_IMPROVEMENTS),
        [(3e-4, 2e-3), (1e-6, 5e-5), (1.5, 10), (0.3, 0.9), (1, 3)],
        *((20, 4, 5.26, None, None), 6),
    ),
}
# Options in which the searches differ from the models' YAML files
OPTIONS = {
    "dprnn": {},
    "convtasnet": {"batch_size": 16, "precision": "fp16"},
    "sepformer": {"use_positional_encoding": False},
    "spmamba": {"norm_epsilon": 1e-5},
}
EXPECTED = {f"dprnn_{stage}": figures for stage, figures in PUBLISHED.items()}
EXPECTED |= {f"as_run/{stem}": figures for stem, figures in AS_RUN.items()}


def test_a_set_as_run_is_complete_and_has_names_of_its_own():
    found = {path.stem for path in (SWEEPS / "as_run").glob("*.yaml")}
    assert found == {f"{stem}_hpopt" for stem in AS_RUN}
    for stem in AS_RUN:
        sweep = read_sweep_file(SWEEPS / f"as_run/{stem}.yaml")
        assert stem == f"{sweep.model}_{sweep.stage}"
        assert sweep.name == f"{sweep.model}-as-run-{sweep.stage}"
        names = OPTIONS[sweep.model]
        assert {name: sweep.settings[name] for name in names} == names
        # Without C, unlike SepFormer's and SPMamba's baselines.
        assert "C" not in sweep.settings["curriculum"][-1]["variants"]


@pytest.mark.parametrize("stem", EXPECTED)
def test_stages_are_those_of_the_log_and_of_the_runs(stem):
    sweep = read_sweep_file(SWEEPS / f"{stem}_hpopt.yaml")
    size, epochs, patience, rule, space, published, last = EXPECTED[stem]
    assert sweep.settings["train_size"] == size
    assert sweep.settings["number_of_epochs"] == epochs
    assert sweep.settings["early_stopping_patience"] == patience
    assert sweep.termination == rule
    assert list(sweep.space) == [
        *("lr", "weight_decay", "max_grad_norm", "lr_factor", "lr_patience")
    ]
    priors = list(sweep.space.values())
    assert [(prior.low, prior.high) for prior in priors] == space
    assert [prior.log for prior in priors] == [True, True, False, False, False]
    assert [prior.discrete for prior in priors] == [False] * 4 + [True]
    assert tuple(sweep.published.values()) == published
    assert sweep.max_trials == published[0]
    assert sweep.algorithm == "optunagp"
    assert [s["epoch"] for s in sweep.settings["curriculum"]] == [1, 3, last]
    assert sweep.settings["seed"] == 42
    means = {"dprnn": 3.03, "convtasnet": 2.95, "sepformer": 5.1}
    assert sweep.baseline == (means | {"spmamba": 5.56})[sweep.model]


def test_there_is_a_file_a_model_and_stage():
    sweeps = {path.stem: read_sweep_file(path) for path in FILES}
    assert set(sweeps) == {f"{m}_{s}_hpopt" for m in MODELS for s in STAGES}
    for stem, sweep in sweeps.items():
        assert stem == f"{sweep.model}_{sweep.stage}_hpopt"
        assert sweep.name == f"{sweep.model}-{sweep.stage}"
        if sweep.stage == "stage1":
            assert sweep.after is None
            continue
        before = sweeps[sweep.after]
        assert before.model == sweep.model
        assert before.settings["train_size"] < sweep.settings["train_size"]
        for name, prior in sweep.space.items():  # narrower, or the same
            assert before.space[name].low <= prior.low
            assert prior.high <= before.space[name].high
        # As the model's own curriculum, around its own learning rate.
        defaults, _ = read_defaults(HPARAMS / f"{sweep.model}.yaml")
        last = sweep.settings["curriculum"][-1]["variants"]
        assert last == defaults["curriculum"][-1]["variants"]
        lr = sweep.space["lr"]
        if sweep.model != "dprnn":
            assert 0.9 < (lr.low * lr.high) ** 0.5 / defaults["lr"] < 1.1


def test_the_end_of_the_name_may_be_left_out():
    short = read_sweep_file(SWEEPS / "dprnn_stage1.yaml")
    assert short == read_sweep_file(SWEEPS / "dprnn_stage1_hpopt.yaml")
    with pytest.raises(UserError, match="dprnn_stage9.yaml: cannot be read"):
        read_sweep_file(SWEEPS / "dprnn_stage9.yaml")


def test_readme_has_every_stages_command():
    readme = (SWEEPS / "README.md").read_text()
    for path in FILES:
        if path.stem.startswith("dprnn"):
            assert (
                f"```\n{format_command(read_sweep_file(path))}\n```" in readme
            )


def test_command_is_read_by_orion_as_the_file_says(monkeypatch):
    monkeypatch.chdir(SEPARATION)
    sweep = read_sweep_file("../sweeps/dprnn_stage1_hpopt.yaml")
    words = shlex.split(format_command(sweep).replace("\\\n", ""))
    assert words[:2] == [
        "ORION_DB_TYPE=pickleddb",
        "ORION_DB_ADDRESS=results/sweeps/dprnn.pkl",
    ]
    assert words[2:10] == [
        *("orion", "hunt", "-n", "dprnn-stage1", "--config"),
        *("../sweeps/dprnn_stage1_hpopt.yaml", "--working-dir"),
        "results/sweeps/dprnn-stage1/orion",
    ]
    parser = OrionCmdlineParser()
    parser.parse(words[words.index("python") :])
    assert dict(parser.priors) == {
        f"/{name}": prior.text for name, prior in sweep.space.items()
    }


def edit(tmp_path, edit_content):
    """Write the small sweep's file after a change; return its path."""
    content = copy.deepcopy(SMALL_SWEEP)
    edit_content(content)
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        (
            "sweep",
            "train_sizes",
            3,
            r"train_sizes is not one of its keys, .* train_",
        ),
        ("experiment", "max_trials", 0, r"max_trials 0: give a whole number"),
        ("experiment", "algorithm", {"a": 42}, r"mapping of its options"),
        ("worker", "executor_configuration", {}, r"give one of .*threading"),
        ("sweep", "seed", "42", r"seed '42': give a whole number"),
        ("sweep", "curriculum", [], r"sweep: curriculum"),
        ("sweep", "space", {"lr": 0.1}, r"lr: 0\.1 is not a prior"),
        ("sweep", "space", {"seed": "uniform(1, 2)"}, r"seed has a fixed"),
        ("sweep", "options", {"batch_size": 1.5}, r"batch_size 1\.5: give"),
        ("sweep", "options", {"train_size": 5}, r"options: train_size"),
        ("sweep", "termination", {"asha": {}}, r"asha is not one of"),
        ("sweep", "termination", {"median": {"patience": 5}}, r"from_epoch"),
        (
            *("sweep", "termination"),
            {"hyperband": {"min_iter": 1, "eta": 2, "s": 1, "count": "steps"}},
            "count 'steps': give one of epochs, improvements",
        ),
        (
            *("sweep", "termination"),
            {"hyperband": {"min_iter": 2, "eta": 2, "s": 2}},
            r"acts after epoch 4, too late",
        ),
        ("sweep", "published", {"runs": 3}, r"published: finished is missing"),
        ("sweep", "model", "dprn", r"model: there is no .*/dprn\.yaml"),
        (
            *("sweep", "space", {"lr_faktor": "uniform(0.1, 0.9)"}),
            r"space: lr_faktor is no number in .*dprnn\.yaml",
        ),
        (
            *("sweep", "space", {"check": "uniform(0.1, 0.9)"}),
            r"space: check is no number in .*dprnn\.yaml",
        ),
        (
            *("sweep", "space", {"lr_patience": "uniform(1, 5)"}),
            r"space: lr_patience is a whole number: give disc",
        ),
        ("sweep", "model", "../x", r"model '\.\./x': give letters"),
    ],
)
def test_mistakes_are_named(tmp_path, section, key, value, message):
    path = edit(tmp_path, lambda content: content[section].update({key: value}))
    with pytest.raises(UserError, match=rf"a\.yaml: .*{message}"):
        read_sweep_file(path)


@pytest.mark.parametrize("folder", [None, "demo"])
def test_the_printed_command_finds_the_file(tmp_path, folder):
    path = write_sweep(tmp_path / "my stage.yaml")
    if folder is not None:
        path = SWEEPS / folder / "dprnn_stage1_hpopt.yaml"
    words = shlex.split(
        format_command(read_sweep_file(path)).replace("\\\n", "")
    )
    for option in ("--config", "--sweep"):
        given = words[words.index(option) + 1]
        assert (SEPARATION / given).resolve() == path.resolve()
        assert given.startswith("/" if folder is None else "../sweeps/demo/")


@pytest.mark.parametrize("text", ["sweep: {a: [1, 2", "", "- 1"])
def test_what_is_no_sweep_is_named(tmp_path, text):
    (tmp_path / "torn.yaml").write_text(text)
    with pytest.raises(UserError, match=r"torn\.yaml: .*"):
        read_sweep_file(tmp_path / "torn.yaml")


def test_a_key_that_stands_twice_is_named(tmp_path):
    path = write_sweep(tmp_path / "a.yaml")
    text = path.read_text().replace("  space:\n", "  space:\n    lr: 1\n")
    path.write_text(text)
    with pytest.raises(UserError, match=r"a\.yaml: .*duplicate key \"lr\""):
        read_sweep_file(path)


def test_speechbrains_own_options_are_options_too(tmp_path):
    path = write_sweep(tmp_path / "a.yaml", options={"compile": True})
    assert read_sweep_file(path).settings["compile"] is True


def test_the_command_prints_commands_and_mistakes(tmp_path, capsys):
    main(list(map(str, FILES)))
    assert capsys.readouterr().out.count("orion hunt") == len(FILES)
    with pytest.raises(UserError, match=r"none\.yaml: "):
        main([str(tmp_path / "none.yaml")])


@pytest.mark.parametrize("section", SMALL_SWEEP)
def test_a_missing_key_is_named(tmp_path, section):
    for key in SMALL_SWEEP[section]:
        path = edit(
            tmp_path, lambda content, key=key: content[section].pop(key)
        )
        with pytest.raises(UserError, match=f"{section}: {key} is missing"):
            read_sweep_file(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_from": {"best": 3}}, "start_from: weight is missing"),
        ({"start_from": {"best": -1, "weight": 0}}, "best -1: give a whole"),
        ({"start_from": {"best": 3, "weight": 1.5}}, "weight 1.5: give a num"),
        ({"start_from": {"best": 3, "weight": 0.3}}, "random cannot begin"),
        ({"after": None}, "no stage comes before"),
    ],
)
def test_what_a_stage_starts_with(tmp_path, changes, message):
    right = {"after": "dprnn_stage1", "start_from": {"best": 3, "weight": 0}}
    path = write_sweep(tmp_path / "a.yaml", **right)
    assert read_sweep_file(path).start_from == right["start_from"]
    write_sweep(path, **right | changes)
    with pytest.raises(UserError, match=message):
        read_sweep_file(path)


def test_keys_are_orions_own():
    known = orion.core.config.to_dict()
    assert set(EXPERIMENT) - {"name"} <= set(known["experiment"])
    assert set(WORKER) <= set(known["worker"])
    name = known["worker"]["executor"]
    options = SMALL_SWEEP["worker"]["executor_configuration"]
    with executor_factory.create(name, n_workers=1, **options) as executor:
        future = executor.submit(sum, [1, 2])
        assert executor.wait([future]) == [3]


@pytest.mark.parametrize(
    ("algorithm", "name", "options"),
    [
        ("random", "random", {}),
        # Orion does not mind capitals.
        ({"OptunaTPE": {"seed": 1}}, "OptunaTPE", {"seed": 1}),
        # What its algorithms take, Orion knows itself.
        ({"asha": {"num_rungs": 3}}, "asha", {"num_rungs": 3}),
    ],
)
def test_an_algorithm_with_and_without_options(
    tmp_path, algorithm, name, options
):
    path = edit(
        tmp_path, lambda c: c["experiment"].update({"algorithm": algorithm})
    )
    read = read_sweep_file(path)
    assert (read.algorithm, read.algorithm_options) == (name, options)
    assert (read.max_trials, read.max_broken) == (4, 2)


@pytest.mark.parametrize(
    "text",
    [
        "loguniform(3e-4, 3e-3)",
        "uniform(0.5, 20)",
        "uniform(1, 5, discrete=True)",
        "loguniform(1,100,discrete=True)",
        "uniform(-1.5, .5)",
    ],
)
def test_means_what_orion_takes_it_for(text):
    prior = read_prior("x", text, "a.yaml")
    dimension = SpaceBuilder().build({"/x": text})["/x"]
    low, high = dimension.interval()
    assert prior.low == pytest.approx(low)
    assert prior.high == pytest.approx(high)
    assert prior.discrete == (dimension.type == "integer")
    assert prior.log == (dimension.prior.name in ("loguniform", "reciprocal"))
    for value in dimension.sample(50, seed=1):
        prior.check("x", value if prior.discrete else float(value), "a.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "loguniform(0, 1)",
        "uniform(2, 1)",
        "uniform(1)",
        "uniform(1, 2.5, discrete=True)",
        "normal(0, 1)",
        "uniform(1, 2) # x",
        3,
    ],
)
def test_refuses_what_is_no_prior(text):
    with pytest.raises(UserError, match=r"a\.yaml: lr: "):
        read_prior("lr", text, "a.yaml")


@pytest.mark.parametrize("value", [0, 6, 2.5, "3", True, float("nan")])
def test_a_value_outside_of_it_is_an_error(value):
    prior = read_prior("lr_patience", "uniform(1, 5, discrete=True)", "a.yaml")
    with pytest.raises(UserError, match=r"--lr_patience .*a\.yaml"):
        prior.check("lr_patience", value, "a.yaml")


def test_a_value_that_orion_has_rounded_beyond_a_bound_is_taken():
    prior = read_prior("lr", "loguniform(1.234567e-3, 2e-3)", "a.yaml")
    prior.check("lr", 1.23456e-3, "a.yaml")
    with pytest.raises(UserError):
        prior.check("lr", 1.234e-3, "a.yaml")
