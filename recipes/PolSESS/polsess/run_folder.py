"""The files that a run leaves: curve, scores, settings and result.

``curve.csv`` has a row an epoch, ``test.csv`` one per test utterance and
variant, ``result.json`` the run as a whole, ``settings.json`` what a resumed
run is compared with. Each is written under a temporary name and renamed, so
that no reader ever finds half of one.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from polsess.errors import UserError
from polsess.files import hash_file, read_json, to_json, write_atomically

# What may differ when a run is resumed: how long it goes on, where things are
# and what is tested, but not what is learned from what. Another corpus is
# noticed by its manifests, and another start by the hash of its weights.
MAY_CHANGE = {
    "pretrained",
    "trust_pretrained",
    "number_of_epochs",
    "early_stopping_patience",
    "data_folder",
    "manifest_folder",
    "manifest_test",
    "output_folder",
    "save_folder",
    "check",
    "on_error",
    "num_workers",
    "valid_batch_size",
    "test_variants",
    "save_audio",
    "eval_precision",
    "nonfinite_patience",
    "nonfinite_lr_factor",
    "device",
    "distributed_backend",
    "noprogressbar",
    "test_only",
    "ckpt_interval_minutes",
    "ckpt_interval_steps",
    "tqdm_colored_bar",
    "log_config",
    "log_to",
    "rendering",  # of runs that could choose it; the mixtures are the same
    # These change rounding, but not what the checkpoints hold.
    "deterministic",
    "compile",
    "compile_mode",
    "compile_module_keys",
    "compile_using_fullgraph",
    "compile_using_dynamic_shape_tracing",
}
# What the test's scores and audio depend on, beside the checkpoint.
TEST_SETTINGS = (
    "manifest_test",
    "test_variants",
    "save_audio",
    "eval_precision",
)


class Curve:
    """The learning curve: a row an epoch.

    Arguments
    ---------
    path : Path
        The CSV file; an earlier part of the run is read from it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "curve.csv"
    >>> curve = Curve(path)
    >>> curve.add({"epoch": 1, "valid_si_sdr": 2.5})
    >>> curve.add({"epoch": 2, "valid_si_sdr": 3.5})
    >>> [row["valid_si_sdr"] for row in Curve(path).rows]
    [2.5, 3.5]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        table = read_curve(path.parent)
        self.rows = [] if table is None else table.to_dict("records")

    def add(self, row: dict) -> None:
        """Write an epoch's row.

        Rows of that epoch and later ones stem from a part of the run that was
        lost with its checkpoint, and go.

        Arguments
        ---------
        row : dict
            With ``epoch``, and the same keys each time.
        """
        self.rows = [old for old in self.rows if old["epoch"] < row["epoch"]]
        self.rows.append(row)
        write_on_main(self.path, pd.DataFrame(self.rows).to_csv(index=False))


class RunFiles:
    """Names of a run's files, and their writing.

    Arguments
    ---------
    folder : str, Path
        The run's output folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.curve = self.folder / "curve.csv"
        self.scores = self.folder / "test.csv"
        self.averaged_scores = self.folder / "test_averaged.csv"
        self.result = self.folder / "result.json"
        self.settings = self.folder / "settings.json"
        self.separator = self.folder / "separator.json"
        self.divergence = self.folder / "divergence.json"
        self.audio = self.folder / "audio"

    def check_same_run(self, settings: dict) -> None:
        """Check a resumed run's settings against those it was started with.

        Arguments
        ---------
        settings : dict
            What ``plain_settings`` returned.

        Raises
        ------
        UserError
            If others than those that may change differ, naming them.
        """
        if not self.settings.exists():
            raise UserError(
                f"{self.folder}: has checkpoints but no {self.settings.name}, "
                "so that it cannot be told whether they are of the same run. "
                "Give --output_folder or --experiment_name for a new one"
            )
        now = json.loads(to_json(settings))
        ignored = MAY_CHANGE
        if "manifest_train" not in now:  # before the corpus is prepared
            ignored = MAY_CHANGE | {"manifest_train", "manifest_val"}
        differing = differences(read_json(self.settings), now, ignored)
        if differing:
            raise UserError(
                f"{self.folder} holds a run with other settings: "
                f"{'; '.join(differing)}. Resume it with its own, or give "
                "--output_folder or --experiment_name for a new one"
            )

    def write_settings(self, settings: dict) -> None:
        """Note the settings that the run goes on with."""
        write_on_main(self.settings, to_json(settings))

    def write_scores(
        self, scores: list[dict], averaged: Sequence[dict] = ()
    ) -> None:
        """Write the test's rows, a dict each; of averaged weights too."""
        for path, rows in (
            (self.scores, scores),
            (self.averaged_scores, averaged),
        ):
            if rows:
                write_on_main(path, pd.DataFrame(rows).to_csv(index=False))

    def remove_result(self) -> None:
        """Remove the result, whose test is about to be done anew."""
        self.result.unlink(missing_ok=True)

    def write_result(self, result: dict) -> None:
        """Write the result; NaN becomes null, which every reader takes."""
        write_on_main(self.result, to_json(result))

    def are_complete(self, curve: Curve, settings: dict) -> bool:
        """Whether there is a result of this curve and the test's settings."""
        if not (self.result.exists() and self.scores.exists()):
            return False
        result = read_json(self.result)
        tested = result.get("settings")
        highest = max((r["valid_si_sdr"] for r in curve.rows), default=None)
        return (
            result.get("epochs_run") == len(curve.rows)
            and result.get("best_valid_si_sdr") == highest
            and isinstance(tested, dict)
            and all(
                name in tested and tested[name] == settings[name]
                for name in TEST_SETTINGS
            )
        )


def read_curve(
    folder: str | Path, needed: Sequence[str] = ()
) -> pd.DataFrame | None:
    r"""Read a run's learning curve.

    Arguments
    ---------
    folder : str, Path
        The run's.
    needed : sequence of str
        Further columns of numbers that have to be there.

    Returns
    -------
    pandas.DataFrame, None
        A row an epoch, with at least ``epoch``, whole numbers that rise, and
        ``valid_si_sdr``, finite, in dB. None without the file.

    Raises
    ------
    UserError
        If it is damaged.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> text = "epoch,valid_si_sdr\n1,2.5\n2,3.5\n"
    >>> _ = (folder / "curve.csv").write_text(text)
    >>> read_curve(folder)["valid_si_sdr"].tolist()
    [2.5, 3.5]
    """
    path = RunFiles(folder).curve
    try:
        table = pd.read_csv(path, dtype={"variants": str})
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows are longer than its header")
        for name in ("epoch", "valid_si_sdr", *needed):
            if name not in table:
                raise ValueError(f"it has no column {name}")
            # Of a file without rows the columns have no type.
            table[name] = table[name].astype(float)
            if not np.isfinite(table[name]).all():
                raise ValueError(f"{name} is not a number everywhere")
        epochs = table["epoch"].tolist()
        if epochs != sorted({int(epoch) for epoch in epochs}):
            raise ValueError("its epochs do not rise")
        return table.astype({"epoch": int})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); delete it, and the run goes on "
            "with a new one"
        ) from error


def read_settings(folder: str | Path) -> dict:
    """Read the settings that a run was trained with.

    Raises UserError if the folder is no run's or the file is damaged.
    """
    path = RunFiles(folder).settings
    if not path.exists():
        raise UserError(f"{folder}: is no run, it has no {path.name}")
    return read_json(path)


# Of the result, what every reader relies on.
RESULT_TYPES: dict = {
    "best_valid_si_sdr": (int, float),
    "best_epoch": int,
    "epochs_run": int,
    "seconds": (int, float),
    "settings": dict,
}


def read_result(folder: str | Path) -> dict | None:
    """Read what a run came to; None while it has no result.

    Raises UserError if the file is damaged or lacks one of RESULT_TYPES.
    """
    path = RunFiles(folder).result
    if not path.exists():
        return None
    result = read_json(path)
    for name, kind in RESULT_TYPES.items():
        if not isinstance(result.get(name), kind):
            raise UserError(
                f"{path}: is damaged (its {name} is {result.get(name)!r:.50}); "
                "delete it, and the same command tests the run again"
            )
    return result


def differences(
    before: dict, now: dict, ignored: Collection[str] = ()
) -> list[str]:
    """Say what was otherwise.

    Arguments
    ---------
    before, now : dict
        Names and values.
    ignored : collection of str
        Names that do not count.

    Returns
    -------
    list of str
        One for each name with another value.

    Example
    -------
    >>> differences({"lr": 0.1, "seed": 1}, {"lr": 0.2, "seed": 2}, {"seed"})
    ['lr was 0.1, now 0.2']
    """
    return [
        f"{name} was {before.get(name, 'no setting')!r}, now "
        f"{now.get(name, 'none')!r}"
        for name in sorted({*before, *now}.difference(ignored))
        if before.get(name) != now.get(name)
    ]


def hash_manifests(folder: str | Path) -> dict:
    """Hash the manifests that a run reads.

    Arguments
    ---------
    folder : str, Path
        Where ``prepare_polsess`` wrote them. Their paths are relative to the
        corpus, so one that was moved has the same hashes.

    Returns
    -------
    dict
        ``manifest_train``, ``manifest_val`` and ``manifest_test``.
    """
    return {
        f"manifest_{split}": hash_file(Path(folder) / f"{split}_all.csv")
        for split in ("train", "val", "test")
    }


def write_on_main(path: Path, text: str) -> None:
    """Write a file atomically; of several processes the main one does."""
    from polsess.processes import on_main  # torch, which readers do not need

    on_main(write_atomically, path, text)
