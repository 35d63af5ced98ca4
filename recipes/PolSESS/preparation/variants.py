"""What a mixture can be rendered as.

A variant's letters say what is kept beside the speech: S scene, E event,
R reverberation; C keeps none.
"""

from collections.abc import Collection

from preparation.errors import UserError

# Environment -> its variants, in the corpus's order.
VARIANTS = {
    "indoor": ("SER", "SR", "ER", "R", "C"),
    "outdoor": ("SE", "S", "E", "C"),
}
ALL_VARIANTS = tuple(dict.fromkeys(sum(VARIANTS.values(), ())))

# Variant -> the environments that have it.
ENVIRONMENTS = {
    variant: [name for name, own in VARIANTS.items() if variant in own]
    for variant in ALL_VARIANTS
}


def compatible_variants(
    environment: str, allowed: Collection[str]
) -> tuple[str, ...]:
    """Select the variants that a mixture can be rendered as.

    Arguments
    ---------
    environment : str
        indoor or outdoor.
    allowed : list of str
        Variants to choose from.

    Returns
    -------
    tuple of str
        In the corpus's order; empty if none is compatible.

    Raises
    ------
    UserError
        If the environment or a variant does not exist.

    Example
    -------
    >>> compatible_variants("indoor", ["C", "SE", "SER"])
    ('SER', 'C')
    >>> compatible_variants("outdoor", ["R"])
    ()
    """
    if environment not in VARIANTS:
        raise UserError(f"environment '{environment}' is not in {[*VARIANTS]}.")
    for variant in allowed:
        if variant not in ALL_VARIANTS:
            raise UserError(f"variant '{variant}' is not in {ALL_VARIANTS}.")
    return tuple(name for name in VARIANTS[environment] if name in allowed)
