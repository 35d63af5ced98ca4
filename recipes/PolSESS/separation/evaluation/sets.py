"""What a trained run is evaluated on: mixtures, their sources, their order."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import soundfile
import torch
from dataset import Example
from prepare_polsess import UserError
from tqdm import tqdm

from evaluation.speech_metrics import resample


@dataclass
class EvaluationSet:
    """Mixtures to separate, and the sources to compare with.

    Arguments
    ---------
    corpus : str
        Its name.
    split : str
        Part of the corpus.
    data_folder : str
        Folder or CSV file that it was read from.
    rows : list of dict
        Each with ``ID``; with ``environment``, ``scene_class``,
        ``event_class``, ``ssr`` and ``scene_offset`` where the corpus tells.
    examples : list of Example
        What is evaluated, in the order of the scores.
    dataset : torch.utils.data.Dataset
        Example -> ``id``, ``row``, ``variant``, ``mixture`` [time] and
        ``targets`` [time, n_sources].
    files : callable
        Example -> paths of the files that it is read from, the mixture first.
    rows_hash : str
        Tells these rows from others, wherever they are.
    own : bool
        Whether the run was trained on the same corpus.
    formats : dict
        Row -> sample rate (Hz) and length (samples) of its files;
        ``check_files`` finds them.
    audio : dict
        Of ``key(example)``: hash of what its files hold, which ``check_files``
        finds, too.
    """

    corpus: str
    split: str
    data_folder: str
    rows: list
    examples: list
    dataset: torch.utils.data.Dataset
    files: Callable
    rows_hash: str
    own: bool = False
    formats: dict = field(default_factory=dict)
    audio: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its evaluation."""
        return self.split if self.own else f"{self.corpus}-{self.split}"

    @property
    def variants(self) -> list[str]:
        """The variants that occur, in the order in which they first do."""
        return list(dict.fromkeys(e.variant for e in self.examples))

    def key(self, example: Example) -> tuple[str, str]:
        """Name an example: its ID and its variant."""
        return self.rows[example.row]["ID"], example.variant

    @property
    def audio_hash(self) -> str:
        """Hash of all audio that the examples need, wherever it is."""
        return hash_rows([self.audio])

    def seconds(self) -> float:
        """Sum the duration of all mixtures."""
        formats = (self.formats[e.row] for e in self.examples)
        return sum(samples / rate for rate, samples in formats)

    def batches(self, size: int) -> list[list[Example]]:
        """Cut the examples into batches.

        A batch has one variant and one length: nothing is padded, and what a
        batch consists of does not depend on which variants are evaluated.

        Arguments
        ---------
        size : int
            Mixtures in a batch.

        Returns
        -------
        list of list of Example
            Each example once.
        """
        groups: dict = {}
        for example in self.examples:
            key = (example.variant, self.formats[example.row])
            groups.setdefault(key, []).append(example)
        return [
            group[first : first + size]
            for group in groups.values()
            for first in range(0, len(group), size)
        ]


def check_files(test_set: EvaluationSet, quiet: bool = False) -> None:
    """Check that all files are there and alike; note their formats and hashes.

    Arguments
    ---------
    test_set : EvaluationSet
        Gets its ``formats`` and ``audio``.
    quiet : bool
        Whether to show no progress.

    Raises
    ------
    UserError
        Naming the first row and file at fault, and how many there are.
    """
    problems = []
    paths = list(
        dict.fromkeys(p for e in test_set.examples for p in test_set.files(e))
    )
    with ThreadPoolExecutor() as pool:
        read = tqdm(
            pool.map(_read_file, paths),
            desc="checking files",
            total=len(paths),
            unit="file",
            disable=quiet or None,
        )
        known = dict(zip(paths, read, strict=True))
    for example in test_set.examples:
        files = test_set.files(example)
        usual, _ = known[files[0]]
        for path in files:
            problem = _header_problem(known[path][0], usual)
            if problem:
                row = f"row {example.row + 2}"  # the header is row 1
                name = test_set.rows[example.row]["ID"]
                problems.append(f"{row} ({name}): {path} {problem}")
                break
        else:
            test_set.formats[example.row] = usual
            contents = _hash("".join(known[p][1] for p in files).encode())
            test_set.audio[test_set.key(example)] = contents.hexdigest()
    if problems:
        problems = list(dict.fromkeys(problems))
        more = f" ({len(problems)} such findings)" if problems[1:] else ""
        raise UserError(f"{test_set.data_folder}, {problems[0]}{more}")


def _read_file(path):
    """Read rate and length of an audio file, or what is wrong; and its hash."""
    try:
        with open(path, "rb") as file:
            info = soundfile.info(file)
            file.seek(0)
            content = hashlib.file_digest(file, _hash).hexdigest()
    except (OSError, ValueError) as error:  # of a path with a null character
        reason = getattr(error, "strerror", None) or error
        return f"cannot be read ({reason})", ""
    except RuntimeError as error:
        reason = str(error).rpartition(": ")[2] or "unknown"
        return f"cannot be read ({reason})", ""
    if info.channels != 1:
        return f"has {info.channels} channels instead of one", content
    if not info.frames:
        return "has no audio", content
    return (info.samplerate, info.frames), content


def _hash(content=b""):
    """Start a hash: only to tell apart, so that a short one will do."""
    return hashlib.blake2b(content, digest_size=16)


def _header_problem(header, usual):
    """Say what is wrong with a file, given its mixture's; None if nothing."""
    if isinstance(header, str):
        return header
    if isinstance(usual, str) or header == usual:
        return None
    return (
        f"has {header[1]} samples at {header[0]} Hz, its mixture {usual[1]} "
        f"at {usual[0]} Hz: cut or resample them alike"
    )


class AtSampleRate(torch.utils.data.Dataset):
    """Examples of a dataset at the rate of a model.

    Arguments
    ---------
    dataset : torch.utils.data.Dataset
        Of a ``EvaluationSet``.
    formats : dict
        Row -> sample rate (Hz) and length.
    sample_rate : int
        In Hz.
    """

    def __init__(
        self, dataset: torch.utils.data.Dataset, formats: dict, sample_rate: int
    ) -> None:
        self.dataset = dataset
        self.formats = formats
        self.sample_rate = sample_rate

    def __getitem__(self, example: Example) -> dict:
        """Read an example, and resample it if its rate is another one."""
        item = self.dataset[example]
        rate, _ = self.formats[example.row]
        if rate == self.sample_rate:
            return item
        stored = np.stack([item["mixture"], *item["targets"].T])
        signals = torch.from_numpy(resample(stored, rate, self.sample_rate))
        return item | {"mixture": signals[0], "targets": signals[1:].T}


def hash_rows(rows: list[dict]) -> str:
    """Hash rows, to tell them from others.

    Arguments
    ---------
    rows : list of dict
        Of plain values.

    Returns
    -------
    str
        SHA-256, in hexadecimal digits.

    Example
    -------
    >>> hash_rows([{"ID": "a"}]) == hash_rows([{"ID": "b"}])
    False
    """
    lines = (repr(sorted(row.items())) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def choose(
    asked: list[str] | None, there: Sequence[str], option: str
) -> list[str]:
    """Check names that were asked for against those that are there.

    Arguments
    ---------
    asked : list of str, None
        None asks for all.
    there : list of str
        In their order.
    option : str
        The option's name, for the message.

    Returns
    -------
    list of str
        Those asked for, in the order of those that are there.

    Raises
    ------
    UserError
        Naming one that is not there.

    Example
    -------
    >>> choose(["b", "a"], ["a", "b", "c"], "--variants")
    ['a', 'b']
    """
    for name in asked or []:
        if name not in there:
            raise UserError(
                f"{option} {name}: choose from {', '.join(there) or 'none'}"
            )
    return [name for name in there if asked is None or name in asked]
