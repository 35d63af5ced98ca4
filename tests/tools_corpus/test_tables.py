"""Tables of scene and event classes."""

import unicodedata

import pytest
from corpus.sounds import SOUNDS
from corpus.tables import DEFAULT_TABLES, Tables, normalise_class
from polsess.errors import UserError


def test_every_embedded_scene_and_event_is_in_the_tables():
    tables = Tables()
    fitting = tables.fitting_events(*SOUNDS.values())
    assert all(len(events) >= 3 for events in fitting.values())
    used = {event for events in fitting.values() for event in events}
    assert used == set(SOUNDS["events"])
    indoor = [
        name for name in SOUNDS["scenes"] if tables.room_of(name) != "outdoor"
    ]
    assert len(indoor) == len(SOUNDS["scenes"]) / 2


@pytest.mark.parametrize(
    ("content", "tells"),
    [
        ("scenes: [", "while parsing"),
        ("scenes: {}", "rooms"),
        (
            "rooms: {}\nevents: []\nscenes: {a: {room: b, place: c}}",
            "no room b",
        ),
        (("distance: [0.35, 0.6]", "distance: [0.3, 3]"), "car: distance does"),
        (("rt60: [0.05, 0.10]", "rt60: [1, 0]"), "car: rt60 is no"),
        (("fits: [nature]", "fits: [moon]"), "no scene is at"),
    ],
)
def test_bad_tables_are_explained(tmp_path, content, tells):
    if isinstance(content, tuple):
        text = DEFAULT_TABLES.read_text(encoding="utf-8")
        assert content[0] in text
        content = text.replace(*content)
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"--tables .*mine.yaml.*{tells}"):
        Tables(path)


def test_nearest_classes_are_offered():
    tables = Tables()
    decomposed = unicodedata.normalize("NFD", "Café")
    with pytest.raises(UserError, match=r"bus_stop \(near: bus.*\), cafés"):
        tables.check_classes("scenes", ["park", "bus_stop", "cafés"])
    with pytest.raises(UserError, match="not known: zzz; rename"):
        tables.check_classes("events", ["zzz"])
    tables.scenes[normalise_class("Café")] = tables.scenes["cafe"]
    tables.check_classes("scenes", [decomposed])
