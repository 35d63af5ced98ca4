"""The files of an evaluation: scores, what was evaluated, and what is known.

``scores.csv`` has a row per utterance, variant and metric, ``evaluation.json``
says of what; both are written at the end. Until then, and for the next time,
``.computed.jsonl`` holds every score as soon as it is there: an evaluation that
was killed goes on, and one that is asked for more computes only that.
"""

import fcntl
import json
import math
import shutil

import pandas as pd
from metrics import METRICS
from prepare_polsess import UserError
from run_files import to_json, write_atomically

ROW_KEYS = ("environment", "scene_class", "event_class", "ssr", "scene_offset")


class EvaluationFiles:
    """Names of an evaluation's files, their reading and writing.

    Used as a context, in which no other process can write them.

    Arguments
    ---------
    folder : Path
        Made if missing.
    identity : dict
        All that scores depend on. Scores with another identity are discarded.
    """

    def __init__(self, folder, identity):
        self.folder = folder
        self.identity = identity
        self.scores = folder / "scores.csv"
        self.description = folder / "evaluation.json"
        self.audio = folder / "audio"
        self.computed = folder / ".computed.jsonl"
        self.work = folder / ".work"
        self.known = {}
        self.replaced = []  # parts of the identity that were others

    def __enter__(self):
        """Lock the folder and read what is known."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.file = open(self.computed, "a+b")  # noqa: SIM115
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.file.close()
            raise UserError(
                f"{self.folder}: another process evaluates into it; wait for "
                "its end, or give --output for another folder"
            ) from error
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot be written ({error.strerror})"
            ) from error
        self._read()
        return self

    def __exit__(self, *_):
        """Let others write."""
        self.file.close()

    def _read(self):
        """Read the known scores; cut off what was torn or is of others."""
        self.file.seek(0)
        end = 0
        identity = None
        for line in self.file:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            if identity is None:
                identity = row
                if identity != self.identity:
                    break
            else:
                self._note(row)
            end += len(line)
        if identity is not None:
            self.replaced = [
                f"{name} {identity.get(name)!r}, now {value!r}"
                for name, value in self.identity.items()
                if identity.get(name) != value
            ]
        self.file.truncate(end)
        if end == 0:
            # The rest is of the same other weights or rows.
            self.description.unlink(missing_ok=True)
            self.scores.unlink(missing_ok=True)
            shutil.rmtree(self.audio, ignore_errors=True)
            self._append(self.identity)

    def _append(self, row):
        try:
            self.file.write(json.dumps(row).encode() + b"\n")
            self.file.flush()
        except OSError as error:
            raise UserError(
                f"{self.computed}: cannot be written ({error.strerror}); the "
                "same command goes on where this one was"
            ) from error

    def _note(self, row):
        self.known[row["ID"], row["variant"], row["metric"]] = row

    def add(self, row):
        """Keep a score.

        Arguments
        ---------
        row : dict
            As ``score_example`` returns them; ``si_sdr`` with ``assigned``.
        """
        self._append(row)
        self._note(row)

    def missing(self, name, variant, metrics):
        """List the metrics that are not known yet.

        Arguments
        ---------
        name : str
            Of the utterance.
        variant : str
            Of its mixture.
        metrics : list of str
            Those asked for.

        Returns
        -------
        list of str
        """
        return [m for m in metrics if (name, variant, m) not in self.known]

    def table(self, test_set, metrics):
        """Make the rows of ``scores.csv``.

        Arguments
        ---------
        test_set : EvaluationSet
            Whose examples are all known.
        metrics : list of str
            Which are wanted.

        Returns
        -------
        pandas.DataFrame
            In the order of the examples and of ``METRICS``.
        """
        rows = []
        for example in test_set.examples:
            source = test_set.rows[example.row]
            key = (source["ID"], example.variant)
            assigned = self.known[*key, "si_sdr"]["assigned"]
            rest = {name: source.get(name, "") for name in ROW_KEYS}
            for metric in metrics:
                row = self.known[*key, metric]
                rows.append(_score_columns(row, assigned) | rest)
                rows[-1]["reason"] = row["reason"]
        return pd.DataFrame(rows)

    def write(self, table, description):
        """Write the scores, and last what they are of.

        Arguments
        ---------
        table : pandas.DataFrame
            The rows.
        description : dict
            For ``evaluation.json``.
        """
        self.description.unlink(missing_ok=True)
        write_atomically(self.scores, table.to_csv(index=False))
        write_atomically(self.description, to_json(description))


def _score_columns(row, assigned):
    """Lay a score out as the columns of scores.csv."""
    score, mixture = _mean(row["scores"]), _mean(row["mixture"])
    return {
        "ID": row["ID"],
        "variant": row["variant"],
        "metric": row["metric"],
        "score": score,
        "mixture": mixture,
        "improvement": score - mixture,
        **{f"score_{n}": v for n, v in enumerate(row["scores"], 1)},
        **{f"mixture_{n}": v for n, v in enumerate(row["mixture"], 1)},
        **{f"estimate_{n}": v for n, v in enumerate(assigned, 1)},
    }


def _mean(values):
    """Average over the sources."""
    return sum(values) / len(values)


def summarise_metrics(table):
    """Average scores by metric and variant.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows of ``scores.csv``.

    Returns
    -------
    pandas.DataFrame
        A row per metric and variant, in their order: mean score, improvement
        and mixture, the count of mixtures and of those without a value.

    Example
    -------
    >>> row = {"metric": "pesq", "variant": "C", "score": 2.0, "mixture": 1.5}
    >>> summary = summarise_metrics(pd.DataFrame([row | {"improvement": 0.5}]))
    >>> summary.loc["pesq", "C"].tolist()
    [2.0, 0.5, 1.5, 1.0, 0.0]
    """
    groups = table.groupby(["metric", "variant"], sort=False)
    means = groups[["score", "improvement", "mixture"]].mean()
    means["count"] = groups.size()
    missing = table["score"].isna() | table["mixture"].isna()
    means["undefined"] = missing.groupby(
        [table["metric"], table["variant"]], sort=False
    ).sum()
    # By metric first, though the rows are by utterance first.
    order = [name for name in METRICS if name in set(table["metric"])]
    return pd.concat([means.loc[[name]] for name in order])


def format_metrics(summary):
    """Lay a summary out for the terminal.

    Arguments
    ---------
    summary : pandas.DataFrame
        What ``summarise_metrics`` returned.

    Returns
    -------
    str
        Several lines.
    """
    table = summary.reset_index().astype(object)
    for index, row in table.iterrows():
        decimals = METRICS[row["metric"]].decimals
        for name in ("score", "improvement", "mixture"):
            value = row[name]
            table.loc[index, name] = (
                "-" if math.isnan(value) else f"{value:.{decimals}f}"
            )
    titles = [METRICS[name].title for name in table["metric"]]
    # Once, where its rows begin.
    table["metric"] = [
        "" if before == title else title
        for before, title in zip(["", *titles], titles, strict=False)
    ]
    return table.to_string(index=False)
