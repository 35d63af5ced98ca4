"""Options of train.py: settings that hold, or an error that names them."""

import json

import hypothesis.strategies as st
from damage import SCALAR, TEXT, TREE, damaged_bytes, damaged_trees
from hypothesis import given
from outcomes import attempt, new_file
from polsess.corpus.metadata import ALL_VARIANTS
from polsess.errors import UserError
from polsess.training.settings import (
    load_hparams,
    make_help,
    parse_arguments,
    plain_settings,
)
from small_models import HPARAMS, SMALL

# How many layers there are: a great number would be built for ever.
COUNTS = {"blocks", "repeats", "dual_path_blocks", "transformer_layers"}
SIZES = {name for model in SMALL.values() for name in model} - COUNTS
NUMBERS = [
    *("seed", "sample_rate", "n_sources", "num_workers", "save_audio"),
    *("number_of_epochs", "early_stopping_patience", "batch_size", "lr"),
    *("weight_decay", "max_grad_norm", "lr_factor", "lr_patience"),
    *("ema_decay", "nonfinite_patience", "nonfinite_lr_factor"),
    *("train_size", "training_segment", "grad_accumulation_factor"),
]
TEXT_NAMES = ["task", "check", "on_error", "log_to", "experiment_name"]
LISTS = ["valid_variants", "test_variants", "curriculum", "modules", "encoder"]
NAMES = st.one_of(
    st.sampled_from([*NUMBERS, *TEXT_NAMES, *LISTS, *sorted(SIZES)]),
    st.sampled_from(["device", "precision", "debug", "jit", "compile_mode"]),
    st.sampled_from(["lerning_rate", "separator", "", "a b", "a:b", "1", "-"]),
    st.text(max_size=5),
)
CURRICULUM = [
    {"epoch": 1, "variants": ["C", "R"], "lr_scheduler": False},
    {"epoch": 3, "variants": ["SER", "SE"], "lr_scheduler": True},
]
VALUES = st.one_of(
    SCALAR.map(str),
    SCALAR.map(lambda value: json.dumps(value, default=str)),
    TREE.map(lambda value: json.dumps(value, default=str)),
    damaged_trees(CURRICULUM).map(lambda tree: json.dumps(tree, default=str)),
    damaged_trees(["SER", "SE"]).map(json.dumps),
    st.sampled_from([".nan", ".inf", "-.inf", "1e-3", "2e400", "null", "~"]),
    TEXT,
)


def arguments_of(model, options):
    """Make a command line of train.py."""
    small = {**SMALL[model], "data_folder": "somewhere"}
    arguments = [str(HPARAMS / f"{model}.yaml")]
    for name, value in small.items():
        if name not in dict(options):
            arguments += [f"--{name}", str(value)]
    for name, value in options:
        arguments += [f"--{name}", value]
    return arguments


def read(arguments):
    """Read settings; what argparse refuses ends as a program would."""
    try:
        if {"-h", "--help"} & {*arguments}:
            assert make_help("", arguments).format_help()
            raise UserError("help is printed")
        hparams_file, run_opts, overrides = parse_arguments(arguments)
        hparams = load_hparams(hparams_file, run_opts, overrides)
        return hparams, run_opts, overrides
    except SystemExit as error:
        assert error.code == 2
        raise UserError("argparse has told") from error


@given(
    st.sampled_from(["convtasnet", "dprnn"]),
    st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=3),
)
def test_options(model, options):
    loaded, _ = attempt(lambda: read(arguments_of(model, options)), UserError)
    if loaded:
        check(*loaded)


def check(hparams, run_opts, overrides):
    """Check that settings are as they were given, and can be written down."""
    for name, value in overrides.items():
        assert hparams[name] == value
    settings = plain_settings(hparams, run_opts)
    written = json.dumps(settings, allow_nan=False)  # no number is infinite
    assert json.loads(written)["lr"] > 0
    for name in ("valid_variants", "test_variants"):
        assert set(settings[name]) <= set(ALL_VARIANTS)


@given(st.sampled_from(["convtasnet", "dprnn"]), st.data())
def test_a_yaml_file(model, data):
    text = (HPARAMS / f"{model}.yaml").read_text()
    for name, value in SMALL[model].items():
        text = text.replace(f"\n{name}: ", f"\n{name}: {value}  # ")
    content = data.draw(damaged_bytes(text.encode()))
    with new_file("model.yaml", content) as path:
        arguments = [str(path), "--data_folder", "somewhere"]
        loaded, _ = attempt(lambda: read(arguments), UserError)
        if loaded:
            plain_settings(*loaded[:2])
