"""How a PolSESS corpus is laid out: splits, folders, metadata files."""

from pathlib import Path

from preparation.errors import UserError

SPLITS = ("train", "val", "test")

# Manifest column -> folder in the split, metadata column. The mixture first.
AUDIO_SOURCES = {
    "mix_wav": ("mix", "mixFile"),
    "s1_wav": ("clean", "speaker1File"),
    "s2_wav": ("clean", "speaker2File"),
    "scene_wav": ("scene", "sceneFile"),
    "event_wav": ("event", "eventFile"),
    "s1_reverb_wav": ("sp1_reverb", "reverbForSpeaker1"),
    "s2_reverb_wav": ("sp2_reverb", "reverbForSpeaker2"),
    "event_reverb_wav": ("ev_reverb", "reverbForEvent"),
}
AUDIO_COLUMNS = tuple(AUDIO_SOURCES)
AUDIO_FOLDERS = tuple(dict.fromkeys(f for f, _ in AUDIO_SOURCES.values()))

# In Hz.
SAMPLE_RATES = (8000, 16000)


def find_metadata(data_folder: Path) -> dict:
    """Find the metadata file of each split.

    Arguments
    ---------
    data_folder : pathlib.Path
        The corpus: the folder that holds train, val and test.

    Returns
    -------
    dict
        Split -> pathlib.Path.

    Raises
    ------
    UserError
        If a folder is missing, or a split has no metadata or several.
    """
    if not data_folder.is_dir():
        raise UserError(f"data_folder '{data_folder}' is not a folder.")
    return {split: _find_split(data_folder, split) for split in SPLITS}


def _find_split(data_folder, split):
    """Find the metadata file of one split.

    Downloads circulate with renamed folders, so that the corpus's name in the
    file name proves nothing: exactly one candidate is accepted.
    """
    folder = data_folder / split
    if not folder.is_dir():
        nested = [path.parent for path in data_folder.glob(f"*/{split}")]
        hint = f" Did you mean '{nested[0]}'?" if nested else ""
        raise UserError(
            f"data_folder '{data_folder}' has no folder '{split}': it must "
            f"be the folder that holds {', '.join(SPLITS)}.{hint}"
        )
    pattern = f"corpus_*_{split}_final.csv"
    found = [*sorted(folder.glob(pattern)), *sorted(data_folder.glob(pattern))]
    if len(found) != 1:
        listed = "".join(f"\n  {path}" for path in found) or " none."
        raise UserError(
            f"The split '{split}' needs exactly one {pattern}, in '{folder}' "
            f"or in '{data_folder}'. Found:{listed}"
        )
    return found[0]
