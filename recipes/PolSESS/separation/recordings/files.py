"""The files of a separated recording: its estimates, and what was done.

WAV files are written under temporary names, and renamed when all are there;
last comes the JSON file. So what has a JSON file is whole. One process at a
time writes to a folder, so that files of two never mix.
"""

import json
from contextlib import contextmanager
from pathlib import Path

from preparation.locks import locked
from run_files import to_json, write_atomically

from recordings.estimates_file import Estimates, unwritable
from recordings.reading import RecordingError


def estimate_paths(base: Path, n_sources: int) -> list[Path]:
    """Name the files of a recording's estimates.

    Arguments
    ---------
    base : Path
        Folder and name.
    n_sources : int
        How many estimates.

    Returns
    -------
    list of Path
    """
    return [
        base.with_name(f"{base.name}_estimate{number + 1}.wav")
        for number in range(n_sources)
    ]


class SeparatedFiles:
    """Names of the files of a separated recording, and their writing.

    Arguments
    ---------
    base : Path
        Folder and name, to which ``_estimate1.wav`` ... and ``.json`` are
        added.
    n_sources : int
        How many estimates.
    identity : dict
        All that the estimates depend on: recording, model, options.
    force : bool
        Whether to replace what another model has separated.

    Raises
    ------
    RecordingError
        If there are files of another recording, model or program.

    Example
    -------
    >>> base = getfixture("tmp_path") / "meeting"
    >>> identity = {"recording": "a.flac", "model": "run", "weights": "0a"}
    >>> files = SeparatedFiles(base, 2, identity)
    >>> [path.name for path in files.audio]
    ['meeting_estimate1.wav', 'meeting_estimate2.wav']
    >>> files.are_complete()
    False
    """

    def __init__(
        self, base: Path, n_sources: int, identity: dict, force: bool = False
    ) -> None:
        self.identity = identity
        self.audio = estimate_paths(base, n_sources)
        self.description = base.with_name(f"{base.name}.json")
        self.changed = []  # what was otherwise when it was separated before
        self.outdated = []  # estimates of a model that had more of them
        if self.description.exists():
            before, estimates = self._read_description()
            if not force:
                self._check_model(before)
            earlier = [base.with_name(name) for name in estimates]
            self.outdated = [p for p in earlier if p not in self.audio]
            self.changed = [
                name
                for name, value in identity.items()
                # The same weights may lie in another folder by now.
                if name != "model" and before.get(name) != value
            ]

    def _read_description(self):
        """Read what the files that are there depend on, and their names."""
        try:
            text = self.description.read_text(encoding="utf-8")
            before = json.loads(text)
            identity, estimates = before["identity"], before["estimates"]
            recording = identity["recording"]
        except OSError as error:
            raise RecordingError(
                f"{self.description}: cannot be read ({error.strerror})"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(
                f"{self.description}: was not written by this program, and "
                "would be overwritten; give another --output"
            ) from error
        if recording != self.identity["recording"]:
            raise RecordingError(
                f"{self.description}: belongs to the recording {recording}; "
                "give another --output, or remove it"
            )
        return identity, estimates

    def _check_model(self, before):
        """Check that no other model separated what is there.

        A folder's model may be trained on, or anew, and stays that model.
        """
        same = any(
            before.get(name) == self.identity[name]
            for name in ("model", "weights")
        )
        if not same:
            raise RecordingError(
                f"{self.description}: belongs to the model "
                f"{before.get('model')}; give another --output, or --force to "
                "replace its estimates"
            )

    def are_complete(self) -> bool:
        """Whether everything is there as it would be written."""
        files = [*self.audio, self.description]
        return not self.changed and all(path.is_file() for path in files)

    def prepare(self) -> None:
        """Make the folder.

        Raises
        ------
        UserError
            If the folder cannot be written to.
        """
        folder = self.description.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error

    def write(
        self,
        estimates: Estimates,
        sample_rate: int,
        subtype: str,
        description: dict,
    ) -> None:
        """Write everything.

        Arguments
        ---------
        estimates : Estimates
            All of them.
        sample_rate : int
            In Hz.
        subtype : str
            ``float`` or ``16-bit``.
        description : dict
            For the JSON file.

        Raises
        ------
        UserError
            If a file cannot be written.
        """
        temporary = [path.with_name(f".{path.name}.tmp") for path in self.audio]
        description = description | {
            "estimates": [path.name for path in self.audio],
            "identity": self.identity,
        }
        folder = self.description.parent
        try:
            with _alone(folder, temporary):
                for source, path in enumerate(temporary):
                    estimates.write(path, sample_rate, subtype, [source])
                self.description.unlink(missing_ok=True)
                for path, name in zip(temporary, self.audio, strict=True):
                    path.replace(name)
                for path in self.outdated:
                    path.unlink(missing_ok=True)
                write_atomically(self.description, to_json(description))
        except OSError as error:
            raise unwritable(folder, error) from error


@contextmanager
def _alone(folder, temporary):
    """Wait until no other process writes to a folder; leave it tidy."""
    with locked(folder):
        try:
            yield
        finally:
            # Not later: without the lock another process may use these names.
            for path in temporary:
                path.unlink(missing_ok=True)
