"""The next stage: the proposed space beside the shipped one, and its file."""

from __future__ import annotations

import math
import re
import textwrap
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from pathlib import Path
from typing import TYPE_CHECKING

from polsess.errors import UserError
from polsess.files import write_atomically

from experiments.stages import Stage
from experiments.tables import markdown_table

if TYPE_CHECKING:
    import pandas as pd


def narrow(space: dict, best: pd.DataFrame, margin: float) -> dict:
    """Narrow a space.

    Arguments
    ---------
    space : dict
        Name of a parameter -> dict with low, high, log and discrete.
    best : pandas.DataFrame
        The best trials, a column a parameter.
    margin : float
        Above 0. By which their range is widened at either end, as a part of the
        parameter's own range in `space`; on a logarithmic axis both are
        measured in logarithms.

    Returns
    -------
    dict
        The same with other bounds. They are rounded outwards to two digits;
        whole numbers keep at least two values.

    Example
    -------
    >>> import pandas as pd
    >>> axis = {"low": 1e-6, "high": 1e-4, "log": True, "discrete": False}
    >>> best = pd.DataFrame({"weight_decay": [1e-6, 5e-6]})
    >>> narrowed = narrow({"weight_decay": axis}, best, 0.1)["weight_decay"]
    >>> narrowed["low"], narrowed["high"]
    (1e-06, 8e-06)
    """
    return {
        name: axis | _narrow_axis(axis, best[name], margin)
        for name, axis in space.items()
    }


def _narrow_axis(axis, values, margin):
    """Find the bounds of one parameter."""
    forth, back = (math.log, math.exp) if axis["log"] else (float, float)
    low, high = axis["low"], axis["high"]
    values = values.clip(low, high)
    wider = margin * (forth(high) - forth(low))
    new_low = back(forth(values.min()) - wider)
    new_high = back(forth(values.max()) + wider)
    if axis["discrete"]:
        # A margin below half a step adds no value.
        new_low, new_high = round(new_low), round(new_high)
        if new_low == new_high:
            new_low, new_high = new_low - 1, new_high + 1
    else:
        new_low = _round(new_low, ROUND_FLOOR)
        new_high = _round(new_high, ROUND_CEILING)
    return {"low": max(low, new_low), "high": min(high, new_high)}


def _round(value, rounding):
    """Round to two digits, up or down."""
    # What binary fractions have behind the tenth digit is not meant.
    return float(Context(2, rounding).create_decimal(f"{value:.10g}"))


def write_prior(axis: dict) -> str:
    """Write an axis as Orion does.

    Arguments
    ---------
    axis : dict
        With low, high, log and discrete.

    Returns
    -------
    str
        The prior.

    Example
    -------
    >>> axis = {"low": 3e-4, "high": 0.003, "log": True, "discrete": False}
    >>> write_prior(axis)
    'loguniform(0.0003, 0.003)'
    >>> write_prior({"low": 1.0, "high": 5, "log": False, "discrete": True})
    'uniform(1, 5, discrete=True)'
    """
    kind = "loguniform" if axis["log"] else "uniform"
    discrete = ", discrete=True" if axis["discrete"] else ""
    return f"{kind}({axis['low']:g}, {axis['high']:g}{discrete})"


if TYPE_CHECKING:
    import pandas as pd

LEAST = 4


def best_trials(pool: pd.DataFrame, fraction: float) -> pd.DataFrame:
    """Take the best part of the finished trials.

    Arguments
    ---------
    pool : pandas.DataFrame
        The finished trials, the best first.
    fraction : float
        Above 0, at most 1.

    Returns
    -------
    pandas.DataFrame
        At least LEAST, if there are as many: the range of one or two trials
        says little.
    """
    part = math.ceil(round(fraction * len(pool), 9))
    return pool.head(max(part, LEAST))


def propose(stage: Stage, best: pd.DataFrame, margin: float) -> dict:
    """Narrow the space of a stage to where its best trials were.

    Arguments
    ---------
    stage : Stage
        The stage.
    best : pandas.DataFrame
        Its best trials.
    margin : float
        As ``narrow`` has it.

    Returns
    -------
    dict
        Name of a parameter -> prior.
    """
    space = narrow(stage.space, best, margin)
    return {name: write_prior(axis) for name, axis in space.items()}


def proposal_table(
    stage: Stage, best: pd.DataFrame, proposed: dict, following: list[Stage]
) -> str:
    """Lay out a row a parameter.

    Arguments
    ---------
    stage : Stage
        The stage.
    best : pandas.DataFrame
        Its best trials.
    proposed : dict
        What ``propose`` returned.
    following : list of Stage
        Those that come next, whose files have spaces too.

    Returns
    -------
    str
        The table, in Markdown.
    """
    rows = [
        [
            name,
            write_prior(axis),
            f"{best[name].min():.3g} to {best[name].max():.3g}",
            proposed[name],
            *(
                write_prior(other.space[name]) if name in other.space else "–"
                for other in following
            ),
        ]
        for name, axis in stage.space.items()
    ]
    chosen = [
        f"{other.stage}, {'published' if other.published else 'in its file'}"
        for other in following
    ]
    return markdown_table(
        [
            *("parameter", stage.stage, f"best {len(best)} trials"),
            *("proposed", *chosen),
        ],
        rows,
    )


def write_stages(
    following: list[Stage], proposed: dict, told: str, folder: Path, force: bool
) -> list[Path]:
    """Write the files of stages with another space, all or none.

    Arguments
    ---------
    following : list of Stage
        What their files say stays, but for the space.
    proposed : dict
        Name of a parameter -> prior.
    told : str
        How the space came about, for the files' heads.
    folder : Path
        Where to.
    force : bool
        Whether to replace files that are there.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UserError
        If there is a file, or one has other parameters.
    """
    texts = {}
    for stage in following:
        path = folder / stage.path.name
        if path.exists() and not force:
            raise UserError(f"{path}: is there already; --force replaces it")
        texts[path] = _lay_out_stage(stage, proposed, told)
    for path, text in texts.items():
        write_atomically(path, text)
    return list(texts)


def _lay_out_stage(following, proposed, told):
    """Lay out a stage's file with another space."""
    if following.space.keys() != proposed.keys():
        raise UserError(
            f"{following.path}: has the parameters "
            f"{', '.join(following.space)}, not {', '.join(proposed)}"
        )
    text = following.path.read_text(encoding="utf-8")
    before, space, after = text.partition("\n  space:\n")
    for name, prior in proposed.items():
        line = re.compile(rf"^( +{re.escape(name)}: )[^#\n]*?( *#.*)?$", re.M)
        after, count = line.subn(rf"\g<1>{prior}\g<2>", after, count=1)
        if not count:
            raise UserError(
                f"{following.path}: {name} does not stand on a line of its own "
                "below `space:`"
            )
    bar = f"# {'#' * 76}\n"
    named = re.search(r"^# (Search: [^,\n]+, stage \w+)", text, re.M)
    search = f"Search: {following.model}, {following.stage}"
    what = f"{named[1] if named else search}; its space is {told}."
    comment = textwrap.fill(
        what, 79, initial_indent="# ", subsequent_indent="# "
    )
    # The head of the file tells of its own space.
    before = re.sub(rf"\A{bar}.*?{bar}", "", before, flags=re.DOTALL)
    return f"{bar}{comment}\n{bar}{before}{space}{after}"
