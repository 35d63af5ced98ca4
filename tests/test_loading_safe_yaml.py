"""Separators from YAML files that may come from elsewhere."""

import time

import hyperpyyaml
import pytest
import torch
from polsess.errors import UserError
from polsess.inference.safe_yaml import (
    build_separator,
    describe_separator,
    hash_description,
)
from small_models import SEPARATION

MALICE = "!apply:builtins.open [stolen, w]"
DPRNN = "!new:speechbrain.lobes.models.dual_path.SBRNNBlock"
ENCODER = "!new:speechbrain.lobes.models.dual_path.Encoder"
SPMAMBA = "!new:polsess.models.spmamba.SPMamba {blocks: 1, hidden_channels: 4}"


@pytest.mark.parametrize("model", ["convtasnet", "dprnn", "sepformer"])
def test_separators_equal_those_of_hyperpyyaml(model, tmp_path):
    text = (SEPARATION / "hparams" / f"{model}.yaml").read_text()
    text = text.replace("!PLACEHOLDER", "nowhere")
    path = tmp_path / "hyperparams.yaml"
    # As train.py writes it.
    path.write_text(hyperpyyaml.resolve_references(text).getvalue())
    torch.manual_seed(0)
    ours = build_separator(path)
    # Without what would seed, log and make folders.
    parts = text[: text.index("modules:")].replace("__set_seed:", "# ")
    torch.manual_seed(0)
    theirs = hyperpyyaml.load_hyperpyyaml(parts)["separator"]
    assert repr(ours) == repr(theirs)
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for name, weights in ours.state_dict().items():
        assert torch.equal(weights, expected[name])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"a: 1\nseparator: {MALICE}", "line 2: !apply:builtins.open"),
        (
            f"separator: !new:polsess.models.spmamba.SPMamba\n  blocks: {MALICE}",
            "line 2",
        ),
        (f"separator: &a {MALICE}\na: *a", "line 1: !apply:builtins.open"),
        (f"separator: !ref <a>\na: {MALICE}", "line 1: !ref is refused"),
        (
            f"separator: {SPMAMBA[:-1]}, a: !ref 9 ** 9 ** 9}}",
            "!ref is refused",
        ),
        ("separator: !new:builtins.open [stolen, w]", "builtins.open"),
        (
            "separator: !new:polsess.models.separator.torch.nn.ReLU",
            "separator.torch.nn",
        ),
        ("separator: !new:polsess.models.spmamba.Block", "spmamba.Block"),
        (
            "separator: !name:polsess.models.spmamba.SPMamba",
            "!name:polsess.models.spmamba.SPMamba",
        ),
        (
            "separator: !new:polsess.models.spmamba.SPMamba\n"
            "  blocks: !!python/object/apply:builtins.open [stolen, w]",
            "python/object",
        ),
        (
            # HyperPyYAML would take it for a tuple, and call.
            "separator: !new:polsess.models.spmamba.SPMamba\n"
            "  blocks: (!!python/object/apply:builtins.open [stolen, w])",
            "",
        ),
        ("separator: 3", "no torch module"),
        ("other: 3", "no key 'separator'"),
        ("- 3", "is not a file of settings"),
        ("a: [", "is not a file of settings"),
        (
            "separator: !new:polsess.models.spmamba.SPMamba {blokcs: 2}",
            "blokcs",
        ),
        (f"separator: {DPRNN} {{unknown: 1}}", "cannot be built (TypeError"),
        (f"separator: {DPRNN} {{num_layers: '2'}}", "cannot be built"),
        (f"separator: {ENCODER} {{kernel_size: [], out_channels: 1}}", "built"),
        ("separator: !PLACEHOLDER", "PLACEHOLDER"),
    ],
)
def test_nothing_else_is_built(text, named, tmp_path):
    path = tmp_path / "hyperparams.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"hyperparams\.yaml") as error:
        build_separator(path)
    assert named in str(error.value)
    assert list(tmp_path.iterdir()) == [path]


def bomb(levels):
    """Nine aliases a line: 9 ** levels values."""
    lines = ["a0: &a0 [x]"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]")
    return "\n".join([*lines, f"separator: *a{levels - 1}"])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("separator: &a [*a]", "*a stands within itself"),
        ("x: &a {b: {c: *a}}\nseparator: *a", "*a stands within itself"),
        (bomb(30), "more than 10000 values"),
        (bomb(5).replace("separator:", "other:"), "more than 10000 values"),
        ("separator: " + "[" * 20000, "nested more than 50 deep"),
        ("separator: " + "[" * 60 + "]" * 60, "nested more than 50 deep"),
        (
            "a0: &a0 [1]\n"
            + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60))
            + "separator: *a59",
            "nested more than 50 deep",
        ),
        ("a: 1\n" * 30000, "longer than 100000 characters"),
    ],
    ids=["cycle", "inner", "bomb", "unused", "open", "deep", "chain", "long"],
)
def test_endless_files_are_refused_at_once(text, named, tmp_path):
    path = tmp_path / "hyperparams.yaml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(UserError, match=r"hyperparams\.yaml") as error:
        build_separator(path)
    assert time.process_time() - start < 5
    assert named in str(error.value)


def test_whatever_a_module_raises_is_told(tmp_path, monkeypatch):
    path = tmp_path / "hyperparams.yaml"
    path.write_text(f"separator: {SPMAMBA}")
    for raised in (AssertionError, KeyError, IndexError, ZeroDivisionError):

        def fail(self, raised=raised, **options):
            raise raised

        monkeypatch.setattr("spmamba.SPMamba.__init__", fail)
        with pytest.raises(UserError, match=f"be built .{raised.__name__}"):
            build_separator(path)


def test_descriptions_are_told_apart_by_what_they_say(tmp_path):
    path = tmp_path / "hyperparams.yaml"
    hashes = {}
    for text in (
        f"separator: {SPMAMBA}",
        f"other: 3\nseparator: &a {SPMAMBA}  # the same\nmodules: [*a]",
        f"separator: {SPMAMBA.replace('4', '8')}",
        f"separator: {SPMAMBA.replace('blocks: 1', 'fft_size: 1')}",
        f"separator: {SPMAMBA.replace('4', '!!str 4')}",
    ):
        path.write_text(text)
        hashes[text] = hash_description(describe_separator(path))
    first, second, *others = hashes.values()
    assert first == second
    assert len({first, *others}) == 4


@pytest.mark.parametrize(
    "other", [MALICE, "!applyref:builtins.open [stolen, w]", "!include:o.yaml"]
)
def test_what_is_not_the_separator_is_not_built(other, tmp_path):
    path = tmp_path / "hyperparams.yaml"
    path.write_text(f"other: {other}\nseparator: {SPMAMBA}")
    assert build_separator(path)(torch.zeros(1, 400)).shape == (1, 400, 2)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="there.yaml: cannot be read"):
        build_separator(tmp_path / "there.yaml")
