"""What is known about scene and event classes: rooms, and what fits where."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml
from polsess.errors import UserError

DEFAULT_TABLES = Path(__file__).parent / "tables.yaml"

# Parameters of a room -> the largest value of those that are shares. Highs
# that decay in no time at all would need walls that absorb more than all.
ROOM_PARAMETERS = {
    "size": None,
    "rt60": None,
    "distance": None,
    "high_cut": None,
    "diffusion": 1.0,
    "freq_damp": 0.9,
}


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
    ('small_room', None)
    >>> tables.fitting_events(["park", "office"], ["dog", "printer"])
    {'park': ['dog'], 'office': ['printer']}
    """

    def __init__(self, path: str | Path = DEFAULT_TABLES) -> None:
        self.path = path
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(
                f"--tables {path} cannot be read: {error}"
            ) from error
        try:
            _check(content)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"--tables {path}: {error!r}; compare with {DEFAULT_TABLES}"
            ) from error
        self.rooms = content["rooms"]
        self.scenes = {
            normalise_class(name): scene
            for name, scene in content["scenes"].items()
        }
        self.events = {
            normalise_class(name): set(group["fits"])
            for group in content["events"]
            for name in group["classes"]
        }

    def room_of(self, scene_class: str) -> str | None:
        """Return the name of a scene class's room, None outdoors."""
        room = self.scenes[normalise_class(scene_class)]["room"]
        return None if room == "outdoor" else room

    def fitting_events(
        self, scene_classes: Iterable[str], event_classes: Iterable[str]
    ) -> dict:
        """Return scene class -> list of the event classes that fit it."""
        return {
            scene: [
                event
                for event in event_classes
                if self.scenes[normalise_class(scene)]["place"]
                in self.events[normalise_class(event)]
            ]
            for scene in scene_classes
        }

    def check_classes(self, kind: str, classes: Iterable[str]) -> None:
        """Raise a UserError for classes of scenes or events not known."""
        known = getattr(self, kind)
        unknown = [
            name for name in classes if normalise_class(name) not in known
        ]
        if unknown:
            raise UserError(
                f"--{kind}: the tables do not know {', '.join(unknown)}; add "
                f"them under '{kind}' in {self.path}, or in a copy of it given "
                f"as --tables"
            )


def normalise_class(name: str) -> str:
    """Write a class name in lower case, words joined by underscores.

    Example
    -------
    >>> normalise_class("Cafe/Restaurant (busy)")
    'cafe_restaurant_busy'
    """
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def _check(content):
    for name, room in content["rooms"].items():
        _check_room(name, room)
    for name, scene in content["scenes"].items():
        if scene["room"] not in {"outdoor", *content["rooms"]}:
            raise ValueError(f"scene {name}: no room {scene['room']}")
    places = {scene["place"] for scene in content["scenes"].values()}
    for group in content["events"]:
        unknown = set(group["fits"]) - places
        if unknown:
            raise ValueError(f"events: no scene is at {sorted(unknown)}")


def _check_room(name, room):
    for parameter, largest in ROOM_PARAMETERS.items():
        ranges = np.asarray(room[parameter], dtype=float).reshape(-1, 2)
        low, high = ranges.T
        if len(ranges) != (3 if parameter == "size" else 1) or any(low > high):
            raise ValueError(f"room {name}: {parameter} is no [low, high]")
        if any(low <= 0) if largest is None else any(high > largest):
            raise ValueError(f"room {name}: {parameter} is out of range")
    # From wherever the microphone is, the farther wall is half the room away.
    longest = max(side[0] for side in room["size"][:2])
    if room["distance"][1] > longest / 2 - 0.1:
        raise ValueError(f"room {name}: distance does not fit into its size")
