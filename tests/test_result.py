"""What a run came to."""

import subprocess
from pathlib import Path

from polsess.training.result import software_versions


def test_versions_name_packages_and_commit():
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    versions = software_versions()
    assert versions["torch"].startswith("2.")
    commit = head.stdout.strip() if head.returncode == 0 else ""
    assert (versions["git_commit"] or "").removesuffix("-dirty") == commit
