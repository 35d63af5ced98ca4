"""Descriptions of networks, which may come from elsewhere."""

import json

import hyperpyyaml
import pytest
import torch
from polsess.errors import UserError
from polsess.models.description import build, describe
from small_models import SEPARATION

MALICE = "!apply:builtins.open [stolen, w]"
SPMAMBA = "polsess.models.spmamba.SPMamba"
SMALL = f"!new:{SPMAMBA} {{blocks: 1, hidden_channels: 4}}"
ENCODER = "speechbrain.lobes.models.dual_path.Encoder"


@pytest.mark.parametrize("model", ["convtasnet", "dprnn", "sepformer"])
def test_networks_equal_those_of_hyperpyyaml(model):
    text = (SEPARATION.parent / "hparams" / f"{model}.yaml").read_text()
    text = text.replace("!PLACEHOLDER", "nowhere")
    # As train.py writes it.
    resolved = hyperpyyaml.resolve_references(text).getvalue()
    description = json.loads(json.dumps(describe(resolved, "")))
    torch.manual_seed(0)
    ours = build(description, "")
    # Without what would seed, log and make folders.
    parts = text[: text.index("modules:")].replace("__set_seed:", "# ")
    torch.manual_seed(0)
    theirs = hyperpyyaml.load_hyperpyyaml(parts)["separator"]
    assert repr(ours) == repr(theirs)
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for name, weights in ours.state_dict().items():
        assert torch.equal(weights, expected[name])


def bomb(levels):
    """Nine aliases a line: 9 ** levels values."""
    lines = ["a0: &a0 [x]"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]")
    return "\n".join([*lines, f"separator: *a{levels - 1}"])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"a: 1\nseparator: {MALICE}", "'!apply:builtins.open'"),
        (f"separator: !new:{SPMAMBA}\n  blocks: {MALICE}", "line 2"),
        (f"separator: &a {MALICE}\na: *a", "'!apply:builtins.open'"),
        (f"separator: !ref <a>\na: {MALICE}", "'!ref'"),
        ("separator: !new:builtins.open [stolen, w]", "builtins.open"),
        ("separator: !new:polsess.models.spmamba.torch.nn.ReLU", "torch.nn"),
        ("separator: !new:polsess.models.spmamba.Nothing", "spmamba.Nothing"),
        (f"separator: !name:{SPMAMBA}", f"!name:{SPMAMBA}"),
        (f"separator: !new:{SPMAMBA} [1]", "arguments by name"),
        (
            f"separator: !new:{SPMAMBA}\n"
            "  blocks: !!python/object/apply:builtins.open [stolen, w]",
            "python/object",
        ),
        ("separator: 3", "not a class"),
        ("other: 3", "no key separator"),
        ("- 3", ""),
        ("a: [", ""),
        ("separator: &a [*a]", "not a class"),
        (bomb(30), "not a class"),
        (f"separator: !new:{SPMAMBA}\n  blocks: 2001-01-01", "not JSON"),
        ("separator: " + "[" * 2000, "recursion"),
    ],
)
def test_nothing_else_is_described(text, named, tmp_path):
    with pytest.raises(UserError, match=r"hyperparams\.yaml") as error:
        describe(text, tmp_path / "hyperparams.yaml")
    assert named in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("os.mkdir", {"path": "stolen"}, "os.mkdir is no torch module"),
        ("polsess.nowhere.SPMamba", {}, "nowhere"),
        ("polsess.models.separator.torch.nn.ReLU", {}, "torch.nn.ReLU"),
        (SPMAMBA, {"blokcs": 2}, "blokcs"),
        (SPMAMBA, [2], "AttributeError: 'list'"),
        (SPMAMBA, {"blocks": {"class": 3}}, "AttributeError: 'int'"),
        (ENCODER, {"kernel_size": [], "out_channels": 1}, "TypeError"),
    ],
)
def test_nothing_else_is_built(name, arguments, named, tmp_path):
    description = {"class": name, "arguments": arguments}
    with pytest.raises(UserError, match=r"separator\.json") as error:
        build(description, "separator.json")
    assert named in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other", [MALICE, "!applyref:builtins.open [stolen, w]", "!include:o.yaml"]
)
def test_what_is_not_the_network_is_not_built(other, tmp_path):
    description = describe(f"other: {other}\nseparator: {SMALL}", "")
    assert build(description, "")(torch.zeros(1, 400)).shape == (1, 400, 2)
    assert list(tmp_path.iterdir()) == []


def test_descriptions_are_distinguished_by_their_content():
    first, second, *others = (
        describe(text, "")
        for text in (
            f"separator: {SMALL}",
            f"other: 3\nseparator: &a {SMALL}  # the same\nmodules: [*a]",
            f"separator: {SMALL.replace('4', '8')}",
            f"separator: {SMALL.replace('blocks: 1', 'fft_size: 1')}",
        )
    )
    assert first == second
    assert first not in others
    assert others[0] != others[1]
