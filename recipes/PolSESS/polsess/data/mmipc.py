"""MM-IPC: mixtures modified by inverted phase cancellation.

A PolSESS mixture is the sum of its stored components, so a component is
removed by subtracting its file from the mixture's. This module says which
components a variant and a task remove, and does the arithmetic. It reads no
file and draws nothing at random.

Source: Kleć, Szklanny, Wieczorkowska, "A Solution for Developing Corpora for
Polish Speech Enhancement in Complex Acoustic Environments", 2024.
"""

from collections.abc import Collection

import torch

from polsess.corpus.metadata import VARIANTS, find_speakers
from polsess.errors import UserError

# Number of targets of each task; of SB, for corpora of two speakers.
TASKS = {
    "SB": 2,  # separate all speakers
    "ES": 1,  # extract speaker 1
    "EB": 1,  # enhance all speakers, as one signal
}

# Letter of a variant -> the components that it stands for
_BACKGROUND: dict = {
    "indoor": {
        "R": ("s1_reverb", "s2_reverb"),
        "S": ("scene",),
        "E": ("event", "event_reverb"),
    },
    "outdoor": {"S": ("scene",), "E": ("event",)},
    "noisy": {"S": ("scene",)},
    "clean": {},
}


def background(environment: str, letters: Collection[str]) -> list[str]:
    """Name the components beside dry speech that letters of a variant mean.

    Example
    -------
    >>> background("outdoor", "SE")
    ['scene', 'event']
    """
    return [
        component
        for letter, components in _BACKGROUND[environment].items()
        if letter in letters
        for component in components
    ]


def removed_components(
    environment: str, variant: str, task: str, n_speakers: int = 2
) -> tuple[str, ...]:
    """Name the components that are subtracted from a mixture.

    Arguments
    ---------
    environment : str
        One of ``VARIANTS``.
    variant : str
        One of the environment's; its letters say what stays beside the speech.
    task : str
        ``SB`` (separate all), ``ES`` (extract speaker 1) or ``EB`` (enhance
        all).
    n_speakers : int
        Number of speakers in the mixture.

    Returns
    -------
    tuple of str
        Component names, each once.

    Raises
    ------
    UserError
        If the environment has no such variant, or the task is unknown.

    Example
    -------
    >>> removed_components("indoor", "SR", "SB")
    ('event', 'event_reverb')
    >>> removed_components("outdoor", "S", "ES")
    ('event', 's2')
    """
    if task not in TASKS or variant not in VARIANTS.get(environment, ()):
        raise UserError(
            f"there is no task {task!r}, or no variant {variant!r} of the "
            f"environment {environment!r}: {', '.join(TASKS)}; {VARIANTS}"
        )
    removed = background(environment, {*"RSE"}.difference(variant))
    if task == "ES":
        removed += [f"s{n}" for n in range(2, n_speakers + 1)]
        # Indoors C has removed speaker 2's reverberation already.
        if environment == "indoor" and "s2_reverb" not in removed:
            removed.append("s2_reverb")
    return tuple(removed)


def required_components(
    environment: str, variant: str, task: str, n_speakers: int = 2
) -> tuple[str, ...]:
    """Name the audio that ``render`` needs: ``mix`` and components, each once.

    Example
    -------
    >>> required_components("indoor", "ER", "SB")
    ('mix', 's1', 's2', 'scene')
    >>> required_components("outdoor", "SE", "ES")
    ('mix', 's1', 's2')
    """
    count = 1 if task == "ES" else n_speakers
    sources = [f"s{n}" for n in range(1, count + 1)]
    removed = removed_components(environment, variant, task, n_speakers)
    return tuple(dict.fromkeys(("mix", *sources, *removed)))


def render(
    audio: dict[str, torch.Tensor], environment: str, variant: str, task: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make the mixture of a variant and its targets.

    Arguments
    ---------
    audio : dict of str to torch.Tensor
        The ``required_components``, each of shape [time].
    environment, variant, task : str
        As in ``removed_components``.

    Returns
    -------
    mixture : torch.Tensor
        Shape [time].
    targets : torch.Tensor
        Dry speech, of shape [time, n_sources].

    Example
    -------
    >>> audio = {
    ...     "mix": torch.full((4,), 6.0),
    ...     "s1": torch.full((4,), 1.0),
    ...     "s2": torch.full((4,), 2.0),
    ...     "scene": torch.full((4,), 3.0),
    ... }
    >>> mixture, targets = render(audio, "outdoor", "E", "SB")
    >>> mixture
    tensor([3., 3., 3., 3.])
    >>> targets.shape
    torch.Size([4, 2])
    """
    # Sums of 16-bit samples do not fit into 16 bits; in FP32 they are exact.
    mixture = audio["mix"].to(torch.float32, copy=True)
    speakers = find_speakers(audio)
    for component in removed_components(
        environment, variant, task, len(speakers)
    ):
        mixture -= audio[component]
    sources = [audio[name] for name in speakers[: 1 if task == "ES" else None]]
    targets = torch.stack(sources, dim=-1).to(torch.float32)
    if task == "EB":
        targets = targets.sum(dim=-1, keepdim=True)
    return mixture, targets
