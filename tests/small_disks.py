"""Small disks, for tests of full ones."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def small_disk(folder, size):
    """Mount a disk in memory on a folder; skip the test where that is refused.

    Arguments
    ---------
    folder : pathlib.Path
        Made if missing.
    size : int
        Of the disk, in kilobytes.
    """
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here ({error})")
    try:
        yield
    finally:
        # Also while something still has a file open there.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
