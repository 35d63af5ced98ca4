"""Settings: what the command line changes, and every way to get it wrong."""

import pytest
from hyperpyyaml import resolve_references
from polsess.errors import UserError
from polsess.processes import set_up_device
from polsess.run_folder import RunFiles, write_on_main
from polsess.training.settings import (
    IN_EACH_YAML,
    MAY_CHANGE,
    MAY_DIFFER,
    SETTINGS,
    check_same_run,
    encode_texts,
    load_hparams,
    make_help,
    parse_arguments,
    plain_settings,
    quote_texts,
    read_defaults,
)
from ruamel.yaml import YAML
from small_models import HPARAMS

from speechbrain.utils.run_opts import RunOptions

DPRNN = str(HPARAMS / "dprnn.yaml")
YAML_FILES = sorted(HPARAMS.glob("*.yaml"))
REFUSED = {name: s.refused for name, s in SETTINGS.items() if s.refused}


def load(*arguments):
    """Load settings; give the hparams, the run options and the overrides."""
    hparams_file, run_opts, overrides = parse_arguments([*arguments])
    hparams = load_hparams(hparams_file, run_opts, overrides)
    return hparams, run_opts, overrides


def read(*options):
    """Load DPRNN's settings with options."""
    return load(DPRNN, "--data_folder", "somewhere", *options)


@pytest.mark.parametrize("option", [["--seed", "456"], ["--seed=456"]])
def test_both_ways_to_give_an_option(option):
    hparams, _, overrides = read(*option)
    assert hparams["seed"] == 456
    assert hparams["output_folder"] == "results/dprnn/456"
    assert overrides == {"data_folder": "somewhere", "seed": 456}


TEXTS = [
    "Corpus #2",
    "Run: a",
    "r/<lr>",
    "'a' \"b",
    "$x {lr} [1] *a &b !c",
    "7",
]
TEXTS += ["(a, b)", "a  b" * 30, "yes", "a=b", "--x", "~~", "-\n- \udcbf|%@`"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_taken_as_it_is(text, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("data_folder", "output_folder", "pretrained"):
        options = {"data_folder": "x", name: text}
        hparams, *_ = load(DPRNN, *(f"--{n}={t}" for n, t in options.items()))
        assert hparams[name] == text
    hparams, *_ = read(f"--output_folder={text}")
    logger = hparams["train_logger"]
    assert hparams["save_folder"] == f"{text}/save"
    assert logger.save_file == f"{text}/train_log.txt"
    hparams, *_ = read(f"--experiment_name={text}")
    assert hparams["output_folder"] == f"results/{text}/42"


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    hparams, *_ = read("--output_folder=~/run")
    assert hparams["manifest_folder"] == "/home/me/run/manifests"
    text = (HPARAMS / "dprnn.yaml").read_text()
    path = tmp_path / "a.yaml"
    path.write_text(text.replace("!ref results/<exp", "!ref ~/<exp"))
    hparams, *_ = load(str(path), "--data_folder", "~/corpus")
    assert hparams["save_folder"] == "/home/me/dprnn/42/save"
    assert hparams["data_folder"] == "/home/me/corpus"


def test_the_written_settings_can_be_read(tmp_path):
    for text in TEXTS[:-1]:
        options = {"data_folder": "x", "output_folder": text}
        with open(DPRNN) as file:
            encoded = encode_texts(DPRNN, options)
            written = resolve_references(file, encoded).read()
        loaded = YAML().load(quote_texts(written))
        assert loaded["output_folder"] == text
        assert loaded["save_folder"] == f"{text}/save"


def test_published_settings_are_the_defaults():
    hparams, *_ = read()
    published = {
        "encoder_filters": 64,
        "dual_path_blocks": 6,
        "chunk_frames": 100,
        "hidden_channels": 128,
        "kernel_size": 16,
        "batch_size": 16,
        "lr": 0.00015,
        "weight_decay": 0.0,
        "max_grad_norm": 5.0,
        "lr_factor": 0.98,
        "lr_patience": 2,
        "number_of_epochs": 100,
        "early_stopping_patience": 10,
        "precision": "fp16",
    }
    assert {key: hparams[key] for key in published} == published


def test_the_precisions_and_the_epsilon_are_those_of_the_published_runs():
    used = {path.stem: read_defaults(path)[0] for path in YAML_FILES}
    precisions = {
        name: defaults["precision"] for name, defaults in used.items()
    }
    assert precisions == {
        "convtasnet": "fp32",
        "dprnn": "fp16",
        "sepformer": "fp16",
        "spmamba": "fp32",
    }
    assert used["spmamba"]["norm_epsilon"] == 1e-4


def test_a_run_from_before_it_was_a_setting_keeps_its_epsilon(tmp_path):
    files = RunFiles(tmp_path)
    write_on_main(files.settings, {"lr": 0.001})
    check_same_run(files, {"lr": 0.001})  # of a network without it
    check_same_run(files, {"lr": 0.001, "norm_epsilon": 1e-5})
    with pytest.raises(UserError, match="epsilon was 1e-05, now 0.0001"):
        check_same_run(files, {"lr": 0.001, "norm_epsilon": 1e-4})


def test_a_list_and_a_curriculum_can_be_given():
    stages = "[{epoch: 1, variants: [C], lr_scheduler: True}]"
    hparams, *_ = read("--valid_variants", "[R, S]", "--curriculum", stages)
    assert hparams["valid_variants"] == ["R", "S"]
    assert hparams["curriculum"][0]["variants"] == ["C"]


def test_the_command_line_goes_before_the_yaml():
    hparams, run_opts, _ = read("--precision", "bf16", "--debug")
    options = plain_settings(hparams, run_opts)
    assert options["precision"] == "bf16"
    assert options["max_grad_norm"] == 5.0
    assert options["debug"] is True
    assert "jit" not in options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sed", "1"], r"--sed: .*no such key; did you mean seed\?"),
        (["--bach_size", "1"], "did you mean batch_size"),
        (["--batch_size", "many"], "--batch_size 'many': give a whole number"),
        (["--batch_size", "2.5"], "--batch_size 2.5: give a whole number"),
        (["--batch_size", "True"], "give a whole number"),
        (["--batch_size", "0"], "--batch_size 0: give a whole number above 0"),
        (["--lr", "fast"], "--lr 'fast': give a number"),
        (["--lr", "0"], "--lr 0: give a number above 0"),
        (["--lr", ".nan"], "--lr nan"),
        (["--lr", ".inf"], "--lr inf: give a number above 0"),
        (["--weight_decay", "-1"], "--weight_decay -1.*from 0"),
        (["--seed", "-1"], "--seed -1.*from 0"),
        (["--seed"], "--seed None: give a whole number"),
        (["--experiment_name="], "--experiment_name None: give a text"),
        (["--seed", "9" * 20], "--seed 9*: give .* from 0 to 4294967295$"),
        (["--hidden_channels", "0"], "--hidden_channels 0"),
        (["--valid_variants", "SER"], "--valid_variants 'SER': give a list"),
        (
            ["--valid_variants", "[SRE]"],
            "valid_variants: 'SRE' .*is not one of",
        ),
        (["--test_variants", "[]"], "test_variants: .* is not a list such as"),
        (["--task", "XX"], "task 'XX': give one of SB, ES, EB"),
        (["--task", "ES"], "n_sources 2: ES has 1"),
        (["--train_size", "0"], "train_size 0: give a whole number above 0"),
        (["--max_grad_norm", "-1"], "--max_grad_norm -1.0"),
        (
            ["--lr_factor", "1.5"],
            "lr_factor 1.5: give a number above 0 below 1",
        ),
        (["--check", "all"], "check 'all': give one of headers, audio, none"),
        (["--on_error", "x"], "on_error 'x': give one of stop, drop"),
        (["--seed", "1", "--seed", "2"], "--seed: give it once"),
        (["--encoder", "5"], "--encoder is built by .*dprnn.yaml"),
        (["--kernel_size", "1"], "kernel_size 1: give a whole number from 2"),
        (["--compile_mode", "default"], "nothing without compile"),
        (
            ["--debug_batches", "3"],
            "--debug_batches does nothing without debug",
        ),
        (["--compile", "null"], "--compile null: give True or False"),
        (["--precis", "bf16"], r"no such key; did you mean precision\?"),
        (["--h"], "--h: .*dprnn.yaml has no such key"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        read(*options)


def test_a_flag_may_have_a_value():
    # As in files of series and sweeps
    for words, expected in (
        (["--compile", "true"], True),
        (["--compile", "False"], False),
        (["--compile"], True),
        ([], False),
    ):
        assert parse_arguments([DPRNN, *words])[1].compile is expected


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("value", [[], ["1"]], ids=["flag", "value"])
def test_what_is_refused_is_refused_with_its_reason(name, value):
    message = f"--{name} is not supported: {REFUSED[name]}"
    with pytest.raises(UserError, match=message):
        read(f"--{name}", *value)
    with pytest.raises(UserError, match=message):
        read(f"--{name}={''.join(value)}")


def test_the_table_refuses_what_the_yaml_file_says_too(tmp_path):
    path = tmp_path / "model.yaml"
    for line, message in (
        ("jit: True", "yaml: jit is not supported: the models"),
        ("compile_mode: default", "nothing without compile"),
    ):
        path.write_text((HPARAMS / "dprnn.yaml").read_text() + f"{line}\n")
        with pytest.raises(UserError, match=message):
            load(str(path), "--data_folder", "x")
    text = (HPARAMS / "dprnn.yaml").read_text()
    path.write_text(text.replace("batch_size: 16", "batch_size: 2.5"))
    with pytest.raises(UserError, match="yaml: batch_size 2.5: give a whole"):
        load(str(path), "--data_folder", "x")
    path.write_text(text.replace("\nlog_to: files", "\n"))
    with pytest.raises(UserError, match="log_to is missing in .*model.yaml"):
        load(str(path), "--data_folder", "x")


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.stem)
def test_each_setting_of_the_table_is_known(path):
    defaults, required = read_defaults(path)
    assert required == ["data_folder"]
    assert IN_EACH_YAML.keys() <= defaults.keys()
    noted = {"manifest_train", "manifest_val", "manifest_test"}
    sizes = {"kernel_size", "chunk_frames", "norm_epsilon"}
    options = set(vars(RunOptions()))
    assert SETTINGS.keys() - IN_EACH_YAML.keys() <= noted | sizes | options


def test_seeds_may_differ_in_what_a_resumed_run_may_but_the_budget():
    budget = {"number_of_epochs", "early_stopping_patience"}
    assert MAY_CHANGE - budget | {"seed", "experiment_name"} == MAY_DIFFER
    assert {"lr", "curriculum", "manifest_train"}.isdisjoint(MAY_CHANGE)


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.stem)
def test_help_has_each_value_and_its_comment(path):
    parser = make_help("What it does.", [str(path), "--help"])
    text = " ".join(parser.format_help().split())
    assert text.startswith("usage: ") and "What it does." in text
    assert "data_folder: !PLACEHOLDER # the corpus, e.g. /corpora/" in text
    assert "seed: 42 # published runs: 42, 123, 456" in text
    assert "# From which epoch which variants" in text
    for name in IN_EACH_YAML:
        assert f"{name}: " in text
    assert "--device VALUE" in text
    assert "separator: !new" not in text  # is built
    assert "--jit" not in text  # is refused
    for action in parser._actions:
        assert not action.help.startswith("("), f"--{action.dest}: no comment"


def test_help_without_a_yaml_file_and_with_a_missing_one():
    assert "--kernel_size" not in make_help("", ["-h"]).format_help()
    with pytest.raises(UserError, match=r"no\.yaml: cannot be read"):
        make_help("", ["no.yaml", "--help"])
    with pytest.raises(UserError, match="give a model's YAML file first"):
        parse_arguments([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cuda:99"], "device cuda:99 cannot be used"),
        (["--device", "cpu"], "precision fp16 needs a GPU: add --precision"),
        (
            ["--device=cpu", "--precision=bf16", "--eval_precision=fp16"],
            "eval_precision fp16 needs a GPU",
        ),
    ],
)
def test_a_device_that_cannot_do_it_is_named(options, message):
    hparams, run_opts, _ = read(*options)
    with pytest.raises(UserError, match=message):
        set_up_device(plain_settings(hparams, run_opts))


def test_options_without_dashes_are_named():
    with pytest.raises(
        UserError, match="'seed': options are given as --name value"
    ):
        load(DPRNN, "seed", "1")
    with pytest.raises(UserError, match="data_folder is missing: give it with"):
        load(DPRNN)


def test_settings_that_do_not_fit_together_are_reported():
    sepformer = str(HPARAMS / "sepformer.yaml")
    options = ["--data_folder", "x"]
    with pytest.raises(UserError, match="do not fit together: .*divi"):
        load(sepformer, *options, "--attention_heads", "7")
    # The weights of 10^14 filters do not fit into any machine.
    with pytest.raises(UserError, match="too little memory to build the model"):
        load(sepformer, *options, "--encoder_filters", str(10**14))


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "just text",
        "a: [1",
        "a: !ref <b>",
        "a: !ref x<a>",
        "a: !ref x<b>\nb: !ref x<a>",
        "[a, b]: 1",
    ],
)
def test_bad_yaml_files_are_named(tmp_path, content):
    path = tmp_path / "model.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"model\.yaml: cannot be read"):
        load(str(path))
