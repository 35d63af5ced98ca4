"""How findings are reported."""

import shutil

import pytest
from polsess.corpus.preparation import prepare_polsess
from polsess.errors import UserError
from small_corpus import write_small_corpus


def test_first_twenty_findings_and_their_count(tmp_path):
    root = tmp_path / "PolSESS_T"
    write_small_corpus(root, {"train": 23, "val": 2, "test": 2}, seconds=0.1)
    shutil.rmtree(root / "train" / "event")
    audio = next((root / "val" / "mix").iterdir())
    audio.unlink()
    with pytest.raises(UserError) as error:
        prepare_polsess(root, tmp_path / "save")
    head, *lines, more, last = str(error.value).splitlines()
    assert head.startswith(f"Corpus '{root}': findings: 24, in 24 of 27 rows")
    assert [line.split(", ")[1] for line in lines] == [
        f"row {row}" for row in range(2, 22)
    ]
    assert more == "  ... and 4 more"
    assert last.startswith("Nothing was written. Repair the corpus")
