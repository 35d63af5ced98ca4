"""Dynamic mixing and augmentation of training mixtures.

Dynamic mixing makes new mixtures of the corpus's stored components: speakers,
scene and event come from different rows (Zeghidour and Grangier, "Wavesplit",
2020, arXiv 2002.08933). What is changed is drawn by the sampler, from seed,
epoch and ID; the dataset applies it.
"""

import random
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from scipy.signal import oaconvolve
from torch.nn.functional import one_hot, pad

from polsess.corpus.metadata import OTHER_LAYOUTS, find_speakers
from polsess.data.mmipc import background
from polsess.errors import UserError
from speechbrain.augment.time_domain import DropChunk, DropFreq, Resample

ROOMS = ("scene", "any")
SSR_RANGE = (-5, 5)  # dB, whole numbers
SCENE_OFFSETS = (-14.0, 0.0)  # dB of the scene's RMS from the speech's
CLIPPING = 0.9999 * 2**15
ATTEMPTS = 50  # to find another speaker
# As long as DropFreq's filter
IMPULSE = one_hot(torch.tensor([50]), 101).float()


class Part(NamedTuple):
    """A stored component that becomes part of a new mixture.

    Arguments
    ---------
    row : int
        Index of its row.
    source : str
        ``s1``, ``s2`` ..., ``scene`` or ``event``; its reverberation goes with
        it.
    shift : int
        Samples by which it starts later; negative for earlier.
    speed : int
        In per cent of the recording's.
    """

    row: int
    source: str
    shift: int = 0
    speed: int = 100


class Remix(NamedTuple):
    """Parts of a new mixture, and their levels.

    Arguments
    ---------
    speech : tuple of Part
        One a speaker.
    scene, event : Part
        The background.
    ssr : tuple of int
        Level of speaker 1 above each further one in dB; empty to keep the
        stored levels.
    scene_offset : float, None
        Level of the scene above that of the speech in dB; None to keep it.
    """

    speech: tuple[Part, ...]
    scene: Part
    event: Part
    ssr: tuple[int, ...] = ()
    scene_offset: float | None = None

    @property
    def sources(self) -> dict:
        """Name of a source, such as ``s1`` -> Part."""
        speech = {f"s{n}": part for n, part in enumerate(self.speech, 1)}
        return speech | {"scene": self.scene, "event": self.event}

    def components(self, environment: str, variant: str) -> dict:
        """List the parts of a variant: name of the component -> Part.

        Example
        -------
        >>> speech = Part(0, "s1"), Part(1, "s1")
        >>> remix = Remix(speech, Part(2, "scene"), Part(3, "event"))
        >>> list(remix.components("indoor", "SR"))
        ['s1', 's2', 's1_reverb', 's2_reverb', 'scene']
        """
        sources = self.sources
        names = find_speakers(sources) + background(environment, variant)
        return {name: sources[name.removesuffix("_reverb")] for name in names}


class Changes(NamedTuple):
    """Changes to a training example.

    Arguments
    ---------
    remix : Remix, None
        Other parts; None for the stored mixture.
    gain : float
        Of mixture and targets, in dB.
    seed : int
        For the frequencies and chunks that the mixture loses.
    """

    remix: Remix | None
    gain: float
    seed: int


class Material:
    """Rows whose components may be mixed anew.

    Speech is taken from the same environment, indoors by default from the same
    class of scenes, since it brings its room with it; scenes and events from
    the same class of scenes, whose events fit.

    Arguments
    ---------
    rows : list of dict
        The manifest's.
    indices : list of int
        Rows that may be used.
    speakers : dict
        ID -> names of the row's speakers.
    rooms : str
        ``scene``, or ``any`` to take indoor speech from any indoor row.
    """

    def __init__(
        self, rows: list[dict], indices: list[int], speakers: dict, rooms: str
    ) -> None:
        self.rows = rows
        self.speakers = speakers
        self.rooms = rooms
        self.speech: dict = {}
        self.scenes: dict = {}
        for index in indices:
            row = rows[index]
            speech = self.speech.setdefault(self._room(row), [])
            speech += self.stored(index).speech
            self.scenes.setdefault(_scene(row), []).append(index)

    def _room(self, row):
        """Name the rooms that fit a row."""
        indoor = row["environment"] == "indoor"
        by_scene = indoor and self.rooms == "scene"
        return row["environment"], row["scene_class"] if by_scene else ""

    def speaker(self, part: Part) -> str:
        """Name a part's speaker."""
        names = self.speakers[self.rows[part.row]["ID"]]
        return names[int(part.source[1:]) - 1]

    def stored(self, index: int) -> Remix:
        """Return a row's own mixture."""
        count = len(self.speakers[self.rows[index]["ID"]])
        speech = tuple(Part(index, f"s{n}") for n in range(1, count + 1))
        return Remix(speech, Part(index, "scene"), Part(index, "event"))

    def draw(self, index: int, generator: random.Random) -> Remix | None:
        """Draw a new mixture in the place of a row's.

        Returns
        -------
        Remix, None
            None if the rows that fit have too few speakers.
        """
        row = self.rows[index]
        fitting = self.speech[self._room(row)]
        speech: list[Part] = []
        for _ in self.speakers[row["ID"]]:
            taken = {self.speaker(part) for part in speech}
            used = {part.row for part in speech}
            for _ in range(ATTEMPTS):
                part = generator.choice(fitting)
                if part.row not in used and self.speaker(part) not in taken:
                    speech.append(part)
                    break
            else:
                return None
        rows = self.scenes[_scene(row)]
        remix = Remix(
            tuple(speech),
            Part(generator.choice(rows), "scene"),
            Part(generator.choice(rows), "event"),
        )
        if row["environment"] in OTHER_LAYOUTS:  # of unknown definition
            return remix
        return remix._replace(
            ssr=tuple(generator.randint(*SSR_RANGE) for _ in speech[1:]),
            scene_offset=generator.uniform(*SCENE_OFFSETS),
        )


def _scene(row):
    """Name the class of a row's scene."""
    return row["environment"], row["scene_class"]


@dataclass
class Augmentation:
    """Changes to training mixtures: their settings, draws and application.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    dynamic_mixing : float
        Share of the examples whose parts come from different rows.
    remix_rooms : str
        See ``Material``.
    remix_shift : float
        Largest shift of a part of these in time, in s.
    speeds : list of int, None
        Speeds of a speaker, in per cent, one of which is drawn for each.
    gain : float
        Largest change of a mixture's level, in dB.
    drop_frequencies : int
        Most notches in a mixture, as SpeechBrain's ``DropFreq`` makes them.
    drop_chunks : int
        Most silenced parts of a mixture, as ``DropChunk`` makes them.

    Raises
    ------
    UserError
        If a speed is not a whole number of per cent, from 50 to 200, or a
        setting of dynamic mixing is given without it.
    """

    sample_rate: int
    dynamic_mixing: float = 0.0
    remix_rooms: str = "scene"
    remix_shift: float = 0.0
    speeds: list[int] | None = None
    gain: float = 0.0
    drop_frequencies: int = 0
    drop_chunks: int = 0

    def __post_init__(self) -> None:
        """Check the speeds, and make SpeechBrain's modules."""
        for speed in self.speeds or []:
            if type(speed) is not int or not 50 <= speed <= 200:
                raise UserError(
                    f"speed_perturbation {speed!r}: give a list of whole per "
                    "cent, from 50 to 200"
                )
        remix = self.remix_shift or self.remix_rooms != "scene"
        if remix and not self.dynamic_mixing:
            raise UserError(
                "remix_shift and remix_rooms are for dynamic mixing; give its "
                "share, dynamic_mixing, or leave them out"
            )
        self.drop_some_frequencies = DropFreq(
            drop_freq_count_low=0, drop_freq_count_high=self.drop_frequencies
        )
        # SpeechBrain's lengths, of 6 to 62 ms, are meant for 16 kHz.
        self.drop_some_chunks = DropChunk(
            drop_length_low=self.sample_rate // 160,
            drop_length_high=self.sample_rate // 16,
            drop_count_low=0,
            drop_count_high=self.drop_chunks,
        )

    @property
    def active(self) -> bool:
        """Whether anything is changed."""
        drops = self.drop_frequencies or self.drop_chunks
        return bool(self.dynamic_mixing or self.speeds or self.gain or drops)

    def draw(
        self, index: int, material: Material, generator: random.Random
    ) -> Changes:
        """Draw the changes to a row's mixture."""
        remix = None
        if generator.random() < self.dynamic_mixing:
            remix = material.draw(index, generator)
            if remix and self.remix_shift:
                remix = self._shifted(remix, generator)
        if self.speeds:
            remix = remix or material.stored(index)
            speech = (
                part._replace(speed=generator.choice(self.speeds))
                for part in remix.speech
            )
            remix = remix._replace(speech=tuple(speech))
        gain = generator.uniform(-self.gain, self.gain)
        return Changes(remix, gain, generator.getrandbits(62))

    def _shifted(self, remix, generator):
        """Shift each part in time."""
        most = round(self.remix_shift * self.sample_rate)

        def shifted(part):
            return part._replace(shift=generator.randint(-most, most))

        return remix._replace(
            speech=tuple(shifted(part) for part in remix.speech),
            scene=shifted(remix.scene),
            event=shifted(remix.event),
        )

    def apply(
        self, changes: Changes, mixture: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply gain and drops to a mixture [time] and its targets.

        The targets, [time, n_sources], keep what the mixture loses.
        """
        gain = 10 ** (changes.gain / 20)
        mixture, targets = gain * mixture, gain * targets
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(changes.seed)
            if self.drop_frequencies:
                # Of an impulse: DropFreq convolves in the time domain, which
                # takes longer than all else here.
                response = self.drop_some_frequencies(IMPULSE)[0].numpy()
                dropped = oaconvolve(mixture.numpy(), response, mode="same")
                mixture = torch.from_numpy(dropped)
            if self.drop_chunks:
                mixture = mixture.unsqueeze(0)
                mixture = self.drop_some_chunks(mixture, torch.ones(1))
        return mixture.reshape(-1), targets


def mix_anew(
    remix: Remix, audio: dict[str, torch.Tensor], n_samples: int, task: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix the components of different rows.

    Levels are set as in the corpus's definition: further speakers by the SSR,
    their reverberation with them, and the scene by its offset from the speech;
    events keep theirs. Then parts are shifted, and if the mixture clips, all of
    it is scaled.

    Arguments
    ---------
    remix : Remix
        The parts.
    audio : dict of str to torch.Tensor
        Name of a component -> 16-bit samples, of shape [time].
    n_samples : int
        Length of the mixture.
    task : str
        ``SB``, ``ES`` or ``EB``.

    Returns
    -------
    mixture : torch.Tensor
        Shape [time], on the scale of 16-bit samples.
    targets : torch.Tensor
        Dry speech, of shape [time, n_sources].

    Example
    -------
    >>> remix = Remix((Part(0, "s1"), Part(1, "s1")), None, None, ssr=(0,))
    >>> audio = {"s1": torch.ones(4), "s2": 2 * torch.ones(4)}
    >>> mix_anew(remix, audio, 4, "SB")[0]
    tensor([2., 2., 2., 2.])
    """
    parts = remix.sources
    names = find_speakers(parts)
    components = {n: parts[n.removesuffix("_reverb")] for n in audio}
    fitted = {
        name: _fit(audio[name], part.speed, n_samples)
        for name, part in components.items()
    }
    gains = dict.fromkeys(parts, 1.0)
    for name, ssr in zip(names[1:], remix.ssr, strict=False):
        gains[name] = _gain(fitted[names[0]], fitted[name], -ssr)
    speech = torch.stack([gains[name] * fitted[name] for name in names])
    if remix.scene_offset is not None and "scene" in fitted:
        everyone = speech.sum(dim=0)
        gains["scene"] = _gain(everyone, fitted["scene"], remix.scene_offset)
    fitted |= zip(names, speech, strict=True)
    for name, part in components.items():
        _shift(fitted[name], part.shift)
    if task == "ES":
        speech = speech[:1]
    mixture = speech.sum(dim=0)
    # Always in one order, on which rounding depends.
    for name, samples in fitted.items():
        source = name.removesuffix("_reverb")
        if name not in names and not (task == "ES" and source in names[1:]):
            mixture.add_(samples, alpha=gains[source])
    targets = speech.T if task != "EB" else speech.sum(dim=0).unsqueeze(-1)
    peak = mixture.abs().max().item()
    if peak > CLIPPING:
        mixture, targets = mixture * CLIPPING / peak, targets * CLIPPING / peak
    return mixture, targets


def _gain(reference, signal, level):
    """Compute the gain that brings a signal ``level`` dB above another."""
    norm = signal.norm().item()
    wanted = reference.norm().item() * 10 ** (level / 20)
    return wanted / norm if norm else 1.0


@cache
def _resampler(speed):
    """Make the resampler of a speed in per cent."""
    return Resample(orig_freq=speed, new_freq=100)


def _fit(samples, speed, n_samples):
    """Change the speed of a component; cut it, or pad it with zeros."""
    samples = samples.to(torch.float32)
    if speed != 100:
        samples = _resampler(speed)(samples.unsqueeze(0)).squeeze(0)
    # Negative padding cuts.
    return pad(samples, (0, n_samples - len(samples)))


def _shift(signal, shift):
    """Shift a signal in place, zeros before or after it."""
    if shift:
        signal.copy_(signal.roll(shift))
        signal[slice(shift) if shift > 0 else slice(shift, None)] = 0
