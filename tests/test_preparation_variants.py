"""Which variants a mixture has."""

import pytest
from polsess.corpus.metadata import ALL_VARIANTS, compatible_variants
from polsess.errors import UserError

EIGHT_VARIANTS = ["SER", "SR", "ER", "R", "SE", "S", "E", "C"]


def test_compatible_variants():
    assert compatible_variants("indoor", EIGHT_VARIANTS) == (
        *("SER", "SR", "ER", "R", "C"),
    )
    assert compatible_variants("outdoor", EIGHT_VARIANTS) == (
        *("SE", "S", "E", "C"),
    )
    assert compatible_variants("outdoor", ("C", "SER", "E")) == ("E", "C")
    assert compatible_variants("indoor", ["SE", "S", "E"]) == ()
    assert set(ALL_VARIANTS) == set(EIGHT_VARIANTS)
    with pytest.raises(UserError, match="environment 'inside'"):
        compatible_variants("inside", ["C"])
    with pytest.raises(UserError, match="variant 'SRE'"):
        compatible_variants("indoor", ["SRE"])
