"""The scores that an evaluation knows: a file that grows score by score."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from preparation.locks import locked
from prepare_polsess import UserError
from run_files import differences

from evaluation.metrics import metric_versions

# Raise it when the same audio gets other scores: known ones are then discarded.
FORMAT_VERSION = 2


class ComputedScores:
    """Scores in a file, from which an evaluation goes on.

    A line each, behind one that says of what. Open, it is locked.

    Arguments
    ---------
    path : Path
        The file; its folder is made if missing.
    identity : dict
        What all scores depend on. Scores with another identity are discarded.
    audio : dict
        ID and variant -> hash of the audio. A score of other audio is not
        used, nor one by another version of its metric's packages.

    Example
    -------
    >>> path = getfixture("tmp_path") / "new" / "computed"
    >>> row = {"ID": "a", "variant": "C", "metric": "si_sdr", "scores": [1.0]}
    >>> for metrics in (["si_sdr"], ["si_sdr", "stoi"]):
    ...     scores = ComputedScores(path, {"weights": "w"}, {("a", "C"): "x"})
    ...     scores.open()
    ...     print(scores.missing(("a", "C"), metrics))
    ...     scores.add(row)
    ...     scores.close()
    ['si_sdr']
    ['stoi']
    """

    def __init__(self, path: Path, identity: dict, audio: dict) -> None:
        self.path = path
        self.identity = {"format_version": FORMAT_VERSION, **identity}
        self.audio = audio
        self.opened = ExitStack()
        self.known: dict = {}  # (ID, variant, metric) -> row

    def open(self) -> None:
        """Lock the file and read what is known.

        Raises
        ------
        UserError
            If it cannot be written, or is not an evaluation's.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.opened.enter_context(locked(self.path, wait=False))
            self.file = self.opened.enter_context(self.path.open("a+b"))
        except BlockingIOError as error:
            raise UserError(
                f"{folder}: another process evaluates into it; wait for "
                "its end, or give --output for another folder"
            ) from error
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written ({error.strerror})"
            ) from error
        self._read()

    def close(self) -> None:
        """Let others write."""
        self.opened.close()

    def _read(self):
        """Read the known scores; cut off what was torn or is of others."""
        self.file.seek(0)
        end, before, outdated = 0, None, set()
        for line in self.file:
            row = _parse(line)
            if row is None:
                if before is None and line.endswith(b"\n"):
                    raise self._foreign()
                break
            if before is None:
                before = row
                if before != self.identity:
                    break
            elif self._is_current(row):
                self._note(row)
            else:
                outdated.add(_key(row))
            end += len(line)
        if before is not None and before != self.identity:
            self._announce_other(before)
        self._announce_outdated(outdated - self.known.keys())
        self.file.truncate(end)
        if end == 0:
            self._append(self.identity)

    def _is_current(self, row):
        """Whether a score is of the audio that is there, computed as now."""
        name, variant, metric = _key(row)
        audio = self.audio.get((name, variant), row["audio"])
        return (row["audio"], row["versions"]) == (
            audio,
            metric_versions(metric),
        )

    def _foreign(self):
        return UserError(
            f"{self.path}: is no file of an evaluation; give --output for "
            "another folder"
        )

    def _announce_other(self, before):
        """Say that all scores are about to be discarded, and why."""
        if "weights" not in before:
            raise self._foreign()
        differing = differences(before, self.identity)
        print(
            f"The earlier scores in {self.path.parent} were of something else "
            f"and are computed anew: {'; '.join(differing)}",
            file=sys.stderr,
        )

    def _announce_outdated(self, outdated):
        """Say that some scores are not used, and why."""
        if not outdated:
            return
        name, variant, metric = min(outdated)
        print(
            f"{len(outdated)} of the scores in {self.path.parent} are of other "
            "audio, or by other versions of packages, and are computed anew "
            f"if they are asked for; one of them is {metric} of {name} as "
            f"{variant}",
            file=sys.stderr,
        )

    def _append(self, row):
        try:
            self.file.write(json.dumps(row).encode() + b"\n")
            self.file.flush()
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); the "
                "same command goes on where this one was"
            ) from error

    def _note(self, row):
        self.known[_key(row)] = row

    def add(self, row: dict) -> None:
        """Keep a score.

        Arguments
        ---------
        row : dict
            As ``score_example`` returns them; ``si_sdr`` with ``assigned``.
        """
        name, variant, metric = _key(row)
        row = row | {
            "audio": self.audio[name, variant],
            "versions": metric_versions(metric),
        }
        self._append(row)
        self._note(row)

    def missing(self, key: tuple[str, ...], metrics: list[str]) -> list[str]:
        """List the metrics that are not known.

        Arguments
        ---------
        key : tuple of str
            ID and variant of a mixture.
        metrics : list of str
            Which are wanted.

        Returns
        -------
        list of str
        """
        return [
            metric for metric in metrics if (*key, metric) not in self.known
        ]


def _key(row):
    return row["ID"], row["variant"], row["metric"]


def _parse(line):
    """Read a line; None if it is torn."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and line.endswith(b"\n") else None
