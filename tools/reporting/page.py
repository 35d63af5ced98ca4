"""The page: sections filled into the template, one file without a network."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reporting.contents import Section
from reporting.examples import PICTURE_SIZE

TEMPLATES = Path(__file__).parent / "templates"


def render(title: str, summary: str, sections: list[Section]) -> str:
    """Fill the template.

    Arguments
    ---------
    title : str
        Of the page.
    summary : str
        Its first sentence.
    sections : list of Section
        In their order.

    Returns
    -------
    str
        HTML. Every text is escaped, but the figures' SVG.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "decibels": _decibels,
        "described": _described,
    }
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        title=title,
        summary=summary,
        sections=sections,
        style=Markup(style),
        picture_size=PICTURE_SIZE,
    )


def _decibels(value):
    """Lay out a level or a ratio."""
    if value != value:
        return "undefined"
    return f"{value:.1f} dB"


def _described(example):
    """Tell what is known about a mixture, and each source's SI-SDR."""
    row = example.row
    parts = [f"Mixture {row['ID']}"]
    for column, word in (("scene_class", "scene"), ("event_class", "event")):
        if row[column]:
            parts.append(f"{word} {row[column]}")
    for column, words in (
        ("ssr", "speaker 1 to speaker 2"),
        ("scene_offset", "scene to speech"),
    ):
        if row[column] == row[column]:
            parts.append(f"{words} {_decibels(row[column])}")
    sources = [
        f"source {number} {_decibels(row[f'score_{number}'])} (in the mixture "
        f"{_decibels(row[f'mixture_{number}'])})"
        for number in (1, 2)
        if f"score_{number}" in row
    ]
    raised = _decibels(example.gain)
    return (
        f"{'; '.join(parts)}. SI-SDR: {', '.join(sources)}. Played with "
        f"a gain of {raised}."
    )
