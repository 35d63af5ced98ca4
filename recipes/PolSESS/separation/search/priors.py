"""The axes of a search, in the words that Orion uses for them."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from prepare_polsess import UserError

NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
PRIOR = re.compile(
    rf"(uniform|loguniform)\(\s*{NUMBER}\s*,\s*{NUMBER}\s*"
    r"(,\s*discrete\s*=\s*True\s*)?\)"
)


@dataclass(frozen=True)
class Prior:
    """From where the values of one parameter are drawn.

    Arguments
    ---------
    low, high : float
        Its bounds, which belong to it.
    log : bool
        Whether its logarithm is uniform.
    discrete : bool
        Whether it is a whole number.
    text : str
        As it was written; priors that mean the same are equal.
    """

    low: float
    high: float
    log: bool
    discrete: bool
    text: str = field(compare=False)

    def check(self, name: str, value: int | float, source: str | Path) -> None:
        """Check a value of the parameter.

        Arguments
        ---------
        name : str
            The parameter.
        value : int, float
            What it is given.
        source : str, Path
            What states the prior, for the message.

        Raises
        ------
        UserError
            If it is not a number, not whole, or out of the bounds.

        Example
        -------
        >>> read_prior("lr", "uniform(1, 5)", "a.yaml").check("lr", 5, "a.yaml")
        """
        number = isinstance(value, int | float) and not isinstance(value, bool)
        whole = number and float(value).is_integer()
        if not number or (self.discrete and not whole):
            kind = "a whole number" if self.discrete else "a number"
            raise UserError(
                f"--{name} {value!r}: is not {kind}; {source} has {name} "
                f"from {self.text}"
            )
        # Orion rounds to five digits, and may round beyond a bound.
        slack = 1e-4 * abs(value)
        if not self.low - slack <= value <= self.high + slack:
            raise UserError(
                f"--{name} {value!r}: lies outside of {source}, which has "
                f"{name} from {self.text}"
            )


def read_prior(name: str, text: str, source: str | Path) -> Prior:
    """Read a prior.

    Arguments
    ---------
    name : str
        The parameter.
    text : str
        E.g. ``loguniform(3e-4, 3e-3)`` or ``uniform(1, 5, discrete=True)``.
    source : str, Path
        Where it stands, for the message.

    Returns
    -------
    Prior
        What it means.

    Raises
    ------
    UserError
        If it is not of this form, or its bounds are not.

    Example
    -------
    >>> prior = read_prior("lr", "loguniform(3e-4, 3e-3)", "a.yaml")
    >>> prior.low, prior.high, prior.log, prior.discrete
    (0.0003, 0.003, True, False)
    """
    match = PRIOR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise UserError(
            f"{source}: {name}: {text!r} is not a prior: give uniform(LOW, "
            "HIGH) or loguniform(LOW, HIGH), for whole numbers with "
            "discrete=True at the end"
        )
    kind, low, high, discrete = match.groups()
    prior = Prior(
        float(low), float(high), kind == "loguniform", bool(discrete), text
    )
    if not prior.low < prior.high or (prior.log and prior.low <= 0):
        raise UserError(
            f"{source}: {name}: {text}: the first bound has to be below the "
            f"second{', and above 0' if prior.log else ''}"
        )
    if prior.discrete and not (
        prior.low.is_integer() and prior.high.is_integer()
    ):
        raise UserError(
            f"{source}: {name}: {text}: a discrete prior has whole bounds"
        )
    return prior
