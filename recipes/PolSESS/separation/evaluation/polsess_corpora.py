"""Test sets of PolSESS: the corpus that a run was trained on, or another."""

from pathlib import Path

from dataset import RenderedMixtures, read_manifest
from mmipc import required_components
from preparation.hashes import hash_file
from preparation.layout import find_metadata
from preparation.record import describe_request, read_record
from prepare_polsess import ALL_VARIANTS, SPLITS, prepare_polsess
from sampling import all_examples

from evaluation.sets import EvaluationSet, choose


def read_polsess(
    settings: dict,
    manifests: Path,
    data_folder: Path,
    split: str,
    variants: list[str] | None,
    save_folder: Path,
) -> EvaluationSet:
    """List the mixtures of a corpus in the layout of PolSESS.

    If it is the one that the run was trained on, here or elsewhere, the run's
    manifests are used; otherwise it is prepared.

    Arguments
    ---------
    settings : dict
        The run's.
    manifests : Path
        Folder of the run's manifests; it need not be there.
    data_folder : Path
        The corpus.
    split : str
        ``train``, ``val`` or ``test``.
    variants : list of str, None
        Allowed variants; None for those of the run's test.
    save_folder : Path
        Where manifests of another corpus go, in a folder of the corpus's name.

    Returns
    -------
    EvaluationSet
        Each row in all its variants.

    Raises
    ------
    UserError
        If something is wrong with the corpus or a variant.
    """
    choose([split], SPLITS, "--split")
    variants = choose(
        variants or settings["test_variants"], ALL_VARIANTS, "--variants"
    )
    data_folder = data_folder.resolve()
    known = settings.get(f"manifest_{split}")
    manifest = manifests / f"{split}_all.csv"
    if not (_is_same(manifests, data_folder) and _hash(manifest) == known):
        manifest = save_folder / data_folder.name / manifest.name
        _prepare(data_folder, manifest.parent, settings)
    return _make_set(data_folder, manifest, settings, split, variants)


def _make_set(data_folder, manifest, settings, split, variants):
    """Make the test set of a manifest's rows."""
    rows = read_manifest(manifest, data_folder)
    rows_hash = _hash(manifest)
    task = settings["task"]

    def files(example):
        row = rows[example.row]
        names = required_components(row["environment"], example.variant, task)
        return [row[f"{name}_wav"] for name in names]

    return EvaluationSet(
        corpus=data_folder.name,
        split=split,
        data_folder=str(data_folder),
        rows=rows,
        examples=all_examples(rows, variants),
        dataset=RenderedMixtures(rows, task),
        files=files,
        rows_hash=rows_hash,
        own=rows_hash == settings.get(f"manifest_{split}"),
    )


def _prepare(data_folder, manifests, settings):
    """Prepare another corpus as the run's was."""
    prepare_polsess(
        data_folder,
        manifests,
        subset_sizes=[],
        check=settings["check"],
        on_error=settings["on_error"],
    )


def _is_same(manifests, data_folder):
    """Whether manifests were made of the metadata that a corpus has."""
    recorded = read_record(manifests).get("metadata", {})
    metadata = find_metadata(data_folder)
    found = describe_request(data_folder, metadata, {})["metadata"]
    # A renamed corpus may have renamed the files as well.
    return {split: m["sha256"] for split, m in recorded.items()} == {
        split: m["sha256"] for split, m in found.items()
    }


def _hash(path):
    """Hash a manifest, as ``settings.json`` has it; None without one."""
    return hash_file(path) if path.exists() else None
