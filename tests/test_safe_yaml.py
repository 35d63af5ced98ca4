"""Separators from YAML files that may come from elsewhere."""

import hyperpyyaml
import pytest
import torch
from prepare_polsess import UserError
from safe_yaml import build_separator
from small_models import SEPARATION

MALICE = "!apply:builtins.open [stolen, w]"
SPMAMBA = "!new:spmamba.SPMamba {blocks: 1, hidden_channels: 4}"


@pytest.mark.parametrize("model", ["convtasnet", "dprnn", "sepformer"])
def test_separators_equal_those_of_hyperpyyaml(model, tmp_path):
    text = (SEPARATION / "hparams" / f"{model}.yaml").read_text()
    text = text.replace("!PLACEHOLDER", "nowhere")
    path = tmp_path / "hyperparams.yaml"
    path.write_text(text)
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
        (f"separator: !new:spmamba.SPMamba\n  blocks: {MALICE}", "line 2"),
        (f"separator: !ref <a>\na: {MALICE}", "!apply:builtins.open"),
        ("separator: !new:builtins.open [stolen, w]", "builtins.open"),
        ("separator: !new:separator.torch.nn.ReLU", "separator.torch.nn"),
        ("separator: !new:spmamba.Block", "spmamba.Block"),
        ("separator: !name:spmamba.SPMamba", "!name:spmamba.SPMamba"),
        (f"separator: {SPMAMBA}\na: !applyref:builtins.open [stolen, w]", "2"),
        (f"separator: {SPMAMBA}\na: !include:other.yaml", "!include"),
        (
            "separator: !new:spmamba.SPMamba\n"
            "  blocks: !!python/object/apply:builtins.open [stolen, w]",
            "python/object",
        ),
        (
            # HyperPyYAML would take it for a tuple, and call.
            "separator: !new:spmamba.SPMamba\n"
            "  blocks: (!!python/object/apply:builtins.open [stolen, w])",
            "",
        ),
        ("separator: 3", "no torch module"),
        ("other: 3", "no key 'separator'"),
        ("- 3", "is not a file of settings"),
        ("a: [", "is not a file of settings"),
        ("separator: !new:spmamba.SPMamba {blokcs: 2}", "blokcs"),
        ("separator: !ref <a>", "a"),
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


def test_what_is_not_the_separator_is_not_built(tmp_path):
    path = tmp_path / "hyperparams.yaml"
    path.write_text(f"other: {MALICE}\nseparator: {SPMAMBA}")
    assert build_separator(path)(torch.zeros(1, 400)).shape == (1, 400, 2)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="there.yaml: cannot be read"):
        build_separator(tmp_path / "there.yaml")
