"""MM-IPC against sums worked out by hand, component by component."""

import pytest
import torch
from polsess.data.mmipc import removed_components, render, required_components
from polsess.errors import UserError

# Different powers of two: a sum tells which components are in it.
LEVELS = {
    "s1": 1.0,
    "s2": 2.0,
    "scene": 4.0,
    "event": 8.0,
    "s1_reverb": 16.0,
    "s2_reverb": 32.0,
    "event_reverb": 64.0,
}
INDOOR_MIX = 127.0  # all seven
OUTDOOR_MIX = 15.0  # no reverberation

# What is left in the mixture: (environment, variant) -> SB and EB, ES.
LEFT = {
    ("indoor", "SER"): (127, 127 - 2 - 32),
    ("indoor", "SR"): (1 + 2 + 4 + 16 + 32, 1 + 4 + 16),
    ("indoor", "ER"): (1 + 2 + 8 + 16 + 32 + 64, 1 + 8 + 16 + 64),
    ("indoor", "R"): (1 + 2 + 16 + 32, 1 + 16),
    ("indoor", "C"): (1 + 2, 1),
    ("outdoor", "SE"): (15, 15 - 2),
    ("outdoor", "S"): (1 + 2 + 4, 1 + 4),
    ("outdoor", "E"): (1 + 2 + 8, 1 + 8),
    ("outdoor", "C"): (1 + 2, 1),
}
TARGETS = {"SB": [1.0, 2.0], "ES": [1.0], "EB": [3.0]}


def stored_audio(environment, names):
    """Make the components of a mixture as they would be read."""
    mix = INDOOR_MIX if environment == "indoor" else OUTDOOR_MIX
    levels = {"mix": mix, **LEVELS}
    return {name: torch.full((5,), levels[name]) for name in names}


@pytest.mark.parametrize("task", ["SB", "ES", "EB"])
@pytest.mark.parametrize(("environment", "variant"), list(LEFT))
def test_renders_hand_computed_sums(environment, variant, task):
    names = required_components(environment, variant, task)
    audio = stored_audio(environment, names)
    mixture, targets = render(audio, environment, variant, task)
    expected = LEFT[environment, variant][task == "ES"]
    assert mixture.tolist() == [expected] * 5
    assert targets.tolist() == [TARGETS[task]] * 5


def test_render_leaves_what_was_read_unchanged():
    audio = stored_audio("outdoor", required_components("outdoor", "C", "SB"))
    before = {name: signal.clone() for name, signal in audio.items()}
    render(audio, "outdoor", "C", "SB")
    assert all(torch.equal(audio[name], before[name]) for name in audio)


@pytest.mark.parametrize(
    ("environment", "variant", "task", "needed"),
    [
        ("indoor", "SER", "SB", {"mix", "s1", "s2"}),
        ("indoor", "SER", "ES", {"mix", "s1", "s2", "s2_reverb"}),
        ("outdoor", "S", "EB", {"mix", "s1", "s2", "event"}),
        ("indoor", "C", "ES", {"mix", *LEVELS}),
    ],
)
def test_needs_no_other_files(environment, variant, task, needed):
    names = required_components(environment, variant, task)
    assert set(names) == needed
    assert len(names) == len(needed)


@pytest.mark.parametrize(
    ("environment", "variant", "task", "message"),
    [
        ("outdoor", "SER", "SB", "variant 'SER' of .* 'outdoor'"),
        ("indoor", "SE", "SB", "variant 'SE' of .* 'indoor'"),
        ("space", "C", "SB", "environment 'space'"),
        ("indoor", "C", "XX", "task 'XX'.*SB, ES, EB"),
    ],
)
def test_what_does_not_exist_is_named(environment, variant, task, message):
    with pytest.raises(UserError, match=message):
        removed_components(environment, variant, task)
