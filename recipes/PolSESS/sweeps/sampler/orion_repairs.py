"""Repairs of Orion 0.2.7, which it loads itself.

Orion imports the entry points of the group ``Database`` before it opens a
database, and this module is one of them. So the repairs are there in each of
its commands, and wherever its library is used.
"""

import contextlib
import os
import signal
import sys
import warnings

from filelock import SoftFileLock
from orion.core.io.database import pickleddb
from orion.core.io.database.mongodb import MongoDB
from orion.core.worker.consumer import Consumer, ExecutionError
from pymongo.uri_parser import parse_uri

# Half of what Orion waits for a PickledDB's lock, which is held for moments
STALE_SECONDS = 30

create_lock = pickleddb._create_lock
find_mount_point = pickleddb._find_mount_point
read_address = MongoDB._sanitize_attrs
consume = Consumer._consume
execute_process = Consumer.execute_process


def _create_lock(path):
    """Let a soft lock go that a killed process of another machine has left.

    Of this machine's filelock itself finds out.
    """
    lock = create_lock(path)
    if isinstance(lock, SoftFileLock):
        with warnings.catch_warnings():
            # Of a live holder: none holds it for so long.
            warnings.simplefilter("ignore", FutureWarning)
            lock.lifetime = STALE_SECONDS
    return lock


def _find_mount_point(path):
    """Look at the folder: on an overlay a file's device may be another."""
    if not os.path.isdir(path):
        path = os.path.dirname(path)
    return find_mount_point(path)


def _read_address(self):
    """Let users log in where the address's ``authSource`` has them.

    Orion looks for ``authsource``, as pymongo wrote it before version 4.
    """
    read_address(self)
    if self.uri:
        given = parse_uri(self.uri)["options"]
        self.options["authSource"] = given.get("authSource", self.name)


def _consume(self, trial, folder):
    """Leave a trial open whose files cannot be made, as on a full disk."""
    try:
        return consume(self, trial, folder)
    except OSError as error:
        _say(f"trial {trial.id} cannot be started ({error})")
        raise ExecutionError(self.interrupt_signal_code) from error


def _execute_process(self, command, environment):
    """Name the signal that killed a trial, which Orion does not."""
    try:
        execute_process(self, command, environment)
    except ExecutionError as error:
        number = -error.return_code
        if number > 0:
            name = f"signal {number} ({signal.strsignal(number)})"
            if number == signal.SIGKILL:
                name = "SIGKILL, as by the system when memory runs out"
            _say(f"trial {environment['ORION_TRIAL_ID']} was killed by {name}")
        raise


def _say(text):
    """Print an error for `sweep.py run`, if the log can be written."""
    with contextlib.suppress(OSError):
        print(f"Error: {text}", file=sys.stderr, flush=True)


pickleddb._create_lock = _create_lock
pickleddb._find_mount_point = _find_mount_point
MongoDB._sanitize_attrs = _read_address
Consumer._consume = _consume
Consumer.execute_process = _execute_process
