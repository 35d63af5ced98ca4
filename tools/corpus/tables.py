"""Table of scene and event classes: rooms, and fitting events."""

import difflib
import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml
from polsess.errors import UserError

DEFAULT_TABLES = Path(__file__).parent / "tables.yaml"

# Smallest and largest values of a room's parameters. With more freq_damp the
# walls would have to absorb more than everything at high frequencies.
LIMITS = dict.fromkeys(("size", "rt60", "distance", "high_cut"), (1e-9, np.inf))
LIMITS |= {"diffusion": (0.0, 1.0), "freq_damp": (0.0, 0.9)}

OUTDOOR = "outdoor"


class Tables:
    """Rooms and places of scene classes, and the places of event classes.

    Arguments
    ---------
    path : str, Path
        A file like tables.yaml.

    Raises
    ------
    UserError
        If the file is missing, is not YAML, or contradicts itself.

    Example
    -------
    >>> tables = Tables()
    >>> tables.room_of("Kitchen"), tables.room_of("park")
    ('small_room', 'outdoor')
    >>> tables.fitting_events(["park", "office"], ["dog", "printer"])
    {'park': ['dog'], 'office': ['printer']}
    """

    def __init__(self, path: str | Path = DEFAULT_TABLES) -> None:
        self.path = path
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
            _check(content)
        except Exception as error:  # whatever another content raises
            raise UserError(
                f"--tables {path} cannot be used: {error!r}; compare with "
                f"{DEFAULT_TABLES}"
            ) from error
        self.rooms = content["rooms"]
        scenes = content["scenes"].items()
        self.scenes = {normalise_class(name): scene for name, scene in scenes}
        self.events = {
            normalise_class(name): set(group["fits"])
            for group in content["events"]
            for name in group["classes"]
        }

    def room_of(self, scene_class: str) -> str:
        """Return the name of a scene class's room, or ``OUTDOOR``."""
        return self.scenes[normalise_class(scene_class)]["room"]

    def fitting_events(
        self, scene_classes: Iterable[str], event_classes: Iterable[str]
    ) -> dict:
        """Return scene class -> the event classes that fit it, if any."""
        fitting = defaultdict(list)
        for scene, event in itertools.product(scene_classes, event_classes):
            place = self.scenes[normalise_class(scene)]["place"]
            if place in self.events[normalise_class(event)]:
                fitting[scene].append(event)
        return dict(fitting)

    def check_classes(self, kind: str, classes: Iterable[str]) -> None:
        """Raise a UserError for unknown classes of scenes or events."""
        known = getattr(self, kind)
        unknown = []
        for name in classes:
            own = normalise_class(name)
            close = difflib.get_close_matches(own, known, cutoff=0.5)
            hint = f" (near: {', '.join(close)})" if close else ""
            unknown += [] if own in known else [f"{name}{hint}"]
        if unknown:
            raise UserError(
                f"--{kind}: not known: {', '.join(unknown)}; rename the "
                f"folders, or add them under "
                f"'{kind}' in a copy of {self.path}, and give it as --tables"
            )


def normalise_class(name: str) -> str:
    """Write a class name in lower case, words joined by underscores.

    Example
    -------
    >>> normalise_class("Cafe/Restaurant (busy)")
    'cafe_restaurant_busy'
    """
    name = unicodedata.normalize("NFC", name).lower()
    return re.sub(r"[\W_]+", "_", name).strip("_")


def _check(content):
    """Raise an error if rooms, scenes or events contradict themselves."""
    for name, room in content["rooms"].items():
        for parameter, (least, most) in LIMITS.items():
            ranges = np.asarray(room[parameter], dtype=float).reshape(-1, 2)
            rising = np.diff(ranges, prepend=least, append=most) >= 0
            n_ranges = 3 if parameter == "size" else 1
            if not rising.all() or len(ranges) != n_ranges:
                problem = f"{parameter} is no valid [low, high]"
                raise ValueError(f"room {name}: {problem}")
        # From wherever the microphone is, the farther wall is half the room
        # away.
        longest = max(side[0] for side in room["size"][:2])
        if room["distance"][1] > longest / 2 - 0.1:
            raise ValueError(f"room {name}: distance does not fit its size")
    for name, scene in content["scenes"].items():
        if scene["room"] not in {OUTDOOR, *content["rooms"]}:
            raise ValueError(f"scene {name}: no room {scene['room']}")
    places = {scene["place"] for scene in content["scenes"].values()}
    for group in content["events"]:
        unknown = set(group["fits"]) - places
        if unknown:
            raise ValueError(f"events: no scene is at {sorted(unknown)}")
