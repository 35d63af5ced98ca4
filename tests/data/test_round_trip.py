"""A corpus that make_corpus.py made, checked, prepared and rendered."""

import subprocess
import sys
from pathlib import Path

import torch
from polsess.corpus.manifests import prepare_polsess
from polsess.corpus.metadata import VARIANTS
from polsess.data.dataset import RenderedMixtures, read_manifest
from polsess.data.sampling import all_examples

ROOT = Path(__file__).resolve().parents[2]
EVERY_VARIANT = ["SER", "SR", "ER", "R", "SE", "S", "E", "C"]


def test_from_corpus_to_rendered_variants(tmp_path):
    corpus = tmp_path / "PolSESS_stand_in"
    sizes = ["--train", "12", "--valid", "2", "--test", "2"]
    subprocess.run(
        [sys.executable, str(ROOT / "tools/make_corpus.py"), str(corpus)]
        + [*sizes, "--seed", "3"],
        check=True,
        capture_output=True,
    )
    record = prepare_polsess(
        str(corpus), str(tmp_path / "manifests"), check="audio"
    )
    assert not (tmp_path / "manifests/rejected.csv").exists()
    assert record["counts"]["train"]["rows"] == 12
    rows = read_manifest(tmp_path / "manifests/train_all.csv", corpus)
    assert {row["environment"] for row in rows} == set(VARIANTS)
    dataset = RenderedMixtures(rows, "SB")
    for example in all_examples(rows, EVERY_VARIANT):
        item = dataset[example]
        assert item["mixture"].shape == (32000,)
        assert item["targets"].shape == (32000, 2)
        speech = item["targets"].sum(dim=-1)
        residual = (item["mixture"] - speech).abs().max()
        limited = item["targets"].abs().max() > 0.99
        if example.variant == "C" and not limited:
            # Nothing but the rounding of seven components is left.
            assert residual <= 8 / 2**15
        elif example.variant != "C":
            assert residual > 100 / 2**15
        assert torch.isfinite(item["mixture"]).all()
