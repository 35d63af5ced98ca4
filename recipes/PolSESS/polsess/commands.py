"""Shared parts of all commands: parser, one-line errors, interruption.

Commands import this module before torch, whose OpenMP reads its settings once.
An interrupted trial of Orion's must stay open from its first moment on. So
``train.py`` imports it first: the other imports take seconds, and a SIGTERM
meanwhile would mark the trial as crashed.
"""

import argparse
import io
import logging
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polsess.errors import UserError, readable

logger = logging.getLogger(__name__)
LARGEST_SEED = 2**32 - 1  # of NumPy's global generator
SPIN = "2000"  # times that OpenMP's waiting threads look before they sleep


def make_parser(
    description: str | None, **others: Any
) -> argparse.ArgumentParser:
    """Make a parser that takes no abbreviations, and expands ``~`` in paths.

    An abbreviation would mean another option as soon as there is a new one, and
    a shell leaves the ``~`` of ``--output=~/x``.

    Example
    -------
    >>> parser = make_parser("Does nothing.")
    >>> _ = parser.add_argument("--output")
    >>> parser.parse_known_args(["--out", "x"])
    (Namespace(output=None), ['--out', 'x'])
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **others,
    )
    parser.register("type", Path, lambda s: Path(os.path.expanduser(s)))
    return parser


def parse_known(
    parser: argparse.ArgumentParser, arguments: list[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Parse a command line; return other options, those of train.py, too.

    argparse takes an unknown ``--name=a b`` for a value of the option before.

    Example
    -------
    >>> parser = make_parser(None)
    >>> _ = parser.add_argument("--seeds", nargs="+")
    >>> parse_known(parser, ["--seeds", "1", "--data_folder=Corpus #2"])
    (Namespace(seeds=['1']), ['--data_folder', 'Corpus #2'])
    """
    words = []
    for text in arguments:
        with_blank = re.match(r"--\w+=[^-].* ", text)
        words += text.split("=", 1) if with_blank else [text]
    return parser.parse_known_args(words)


def read_options(texts: list[str]) -> dict:
    """Read the options of train.py.

    Arguments
    ---------
    texts : list of str
        ``--name value``, ``--name=value`` or ``--name``.

    Returns
    -------
    dict
        Name -> text, None for an option without a value.

    Raises
    ------
    UserError
        If a value has no name, or an option is repeated.

    Example
    -------
    >>> read_options(["--lr", "0.1", "--seconds=2", "--test_only"])
    {'lr': '0.1', 'seconds': '2', 'test_only': None}
    """
    options: dict = {}
    for text in texts:
        if text.startswith("--"):
            name, equals, value = text[2:].partition("=")
            if name in options:
                raise UserError(f"--{name}: give it once")
            options[name] = value if equals else None
        elif not options or options[name] is not None:
            raise UserError(f"{text!r}: options are given as --name value")
        else:
            options[name] = text
    return options


def write_options(options: dict) -> list[str]:
    """Write the options of train.py, as ``read_options`` reads them."""
    words = []
    for name, text in options.items():
        if text is None or text.startswith("-"):
            words.append(f"--{name}" + ("" if text is None else f"={text}"))
        else:
            words += [f"--{name}", text]
    return words


def at_least(
    least: float, most: float = math.inf, kind: type = int
) -> Callable:
    """Make the type of an option that takes numbers from ``least`` on.

    Example
    -------
    >>> at_least(1)("8")
    8
    """

    def number(text):
        if not least <= kind(text) <= most:
            to = f" to {most}" if most < math.inf else ""
            raise argparse.ArgumentTypeError(f"give a number from {least}{to}")
        return kind(text)

    return number


SEED = at_least(0, LARGEST_SEED)  # the type of an option


def called_by_orion() -> bool:
    """Check whether ``orion hunt`` started this process."""
    return "ORION_RESULTS_PATH" in os.environ


def interrupt_status() -> int:
    """Return the exit status that ends a hunt and leaves its trial open.

    At any other status but 0 Orion marks the trial as broken and starts the
    next. Without Orion it is 1.
    """
    return int(os.environ["ORION_INTERRUPT_CODE"]) if called_by_orion() else 1


def treat_sigterm_as_interrupt() -> None:
    """Let a scheduler's SIGTERM end a process as Ctrl-C does.

    It may reach a trial before Orion, which would take it for crashed.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def run(main: Callable, hint: str = "The same command goes on.") -> None:
    """Call a command's main function; end with one line for a user's mistake.

    A hunt of Orion's ends with such an error, and with an interruption, and
    the trial goes on with the next hunt: it is not the parameters' fault.

    Arguments
    ---------
    main : callable
        Takes the arguments of the command line; may return an exit status.
    hint : str
        Printed after Ctrl-C or SIGTERM: the effect of the same command.
    """
    utf8 = os.environ.get("PYTHONUTF8") == "1"
    if sys.getfilesystemencoding() != "utf-8" and not utf8:
        # Of such a locale, as C, Python can neither name all files nor write
        # all texts. What it prints stays in the terminal's encoding.
        os.environ["PYTHONUTF8"] = "1"
        os.environ["PYTHONIOENCODING"] = sys.stdout.encoding
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.setLogRecordFactory(_make_readable_record)
    if not called_by_orion() and "RANK" not in os.environ:
        treat_sigterm_as_interrupt()
    # A log that cannot be written, as on a full disk, ends no command, and
    # Python's words on it would hide the error that does.
    logging.raiseExceptions = False
    rank = int(os.environ.get("RANK", "0"))
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(status)
    except BrokenPipeError:  # nobody reads on, as after `head`
        _print_error("")
        sys.exit(1)
    except (UserError, OSError) as error:
        # A loader's process hands its whole traceback over as the message.
        message = str(error).rpartition("UserError: ")[2].strip()
        if rank > 0:
            # The first process's is enough: torchrun ends this one soon after
            # it. An error of this process alone is printed.
            time.sleep(10)
        else:
            logger.debug(message)  # goes to log.txt, not to the terminal
        _print_error(f"Error: {message}\n")
        sys.exit(interrupt_status())
    except SystemExit as error:
        # argparse ends with 2 after the message on a wrong option.
        if error.code == 2 and called_by_orion():
            sys.exit(interrupt_status())
        raise
    except KeyboardInterrupt:
        if called_by_orion():
            sys.exit(interrupt_status())
        if rank == 0:
            print(f"Interrupted. {hint}", file=sys.stderr)
        sys.exit(130)


def _make_readable_record(*arguments, **options):
    """Make a record that can be written to a file in UTF-8."""
    record = logging.LogRecord(*arguments, **options)
    record.msg, record.args = readable(record.getMessage()), ()
    return record


def _print_error(text):
    """Print to stderr, and give up what cannot be printed.

    Python would try again when it ends, and end with a status of its own.
    """
    for stream, words in ((sys.stdout, ""), (sys.stderr, text)):
        try:
            stream.write(words)
            stream.flush()
        except OSError:  # such as a log on a full disk
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _leave_at_once(number, frame):
    """End before anything has started that would need cleaning up."""
    os._exit(interrupt_status())


# By default OpenMP's threads compute for milliseconds while they wait for each
# other, also where the one waited for has lost its core to another process:
# see tools/bench/bench_neighbours.py. Results do not depend on it.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = SPIN
if called_by_orion():  # until ``treat_sigterm_as_interrupt``
    signal.signal(signal.SIGTERM, _leave_at_once)
