"""References of YAML files that may come from elsewhere."""

import pytest
from polsess.inference.speechbrain_models import resolve
from ruamel.yaml import YAML


def resolved(text):
    """Resolve the key ``a`` of a file."""
    keys = {key.value: node for key, node in YAML().compose(text).value}
    return resolve(keys["a"], keys)


def test_what_is_referred_to_twice_is_one_node():
    node = resolved("a: {x: !ref <b>, y: [!ref <c>]}\nb: {}\nc: !ref <b>")
    (_, first), (_, second) = node.value
    assert second.value[0] is first
    assert first.tag == "tag:yaml.org,2002:map"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: !ref <b> + 1\nb: 1", "line 1: .* is more than <a key>"),
        ("a: [1, !ref <b.c>]\nb: {c: 1}", "is more than <a key>"),
        ("a: !ref [b]", "is more than <a key>"),
        ("a: !ref <b>", "there is no key b"),
        ("a: [!ref <b>]\nb: [!ref <a>]", "refers to itself"),
        ("a: !ref <a>", "refers to itself"),
        (
            # Small as text, 2 ** 20 values as a tree.
            "a: [!ref <k20>]\nk0: 1\n"
            + "".join(
                f"k{n + 1}: [!ref <k{n}>, !ref <k{n}>]\n" for n in range(20)
            ),
            "more than 10000 values",
        ),
        (
            # Each one step deeper than what was read before.
            f"a: [{', '.join(f'!ref <k{n}>' for n in range(200))}]\nk0: 1\n"
            + "".join(f"k{n + 1}: [!ref <k{n}>]\n" for n in range(199)),
            "too deep",
        ),
    ],
)
def test_what_is_refused(text, named):
    with pytest.raises(ValueError, match=named):
        resolved(text)
