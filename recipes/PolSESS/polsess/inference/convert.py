"""Conversion of runs and exported models that earlier versions made.

> python -m polsess.inference.convert results/convtasnet/42 my-exported-model

Those have no ``separator.json``. It is written beside their other files, as
their YAML file describes the network; nothing that the YAML file names is run.
"""

from pathlib import Path

from polsess.commands import make_parser, run
from polsess.errors import UserError
from polsess.files import to_json, write_atomically
from polsess.models.description import build, describe
from polsess.run_folder import RunFiles

# Former names of modules
EARLIER_NAMES = {
    "convtasnet_masks": "polsess.models.convtasnet",
    "separator": "polsess.models.separator",
    "spmamba": "polsess.models.spmamba",
    "transformer_block": "polsess.models.sepformer",
}


def convert(folder: str | Path) -> Path:
    """Write ``separator.json`` into a folder.

    Arguments
    ---------
    folder : str, Path
        Of a run or an exported model.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    UserError
        If the folder holds no such model.
    """
    files = RunFiles(Path(folder).expanduser())
    source = files.folder / "separator.yaml"  # of an exported model
    if not source.exists():
        source = files.folder / "hyperparams.yaml"
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{source}: cannot be read ({error})") from error
    for earlier, name in EARLIER_NAMES.items():
        text = text.replace(f"!new:{earlier}.", f"!new:{name}.")
    description = describe(text, source)
    build(description, source)
    write_atomically(files.separator, to_json(description))
    return files.separator


def main(arguments: list[str]) -> None:
    """Convert the folders that the command line names."""
    parser = make_parser(__doc__, prog="python -m polsess.inference.convert")
    text = "run or exported model"
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help=text)
    for folder in parser.parse_args(arguments).folders:
        print(f"{convert(folder)}: written")


if __name__ == "__main__":
    run(main)
