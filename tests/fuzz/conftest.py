"""How many cases the fuzz draws, and that they are counted.

`make test` draws few, always the same ones; `make fuzz` draws other ones each
time, and fails if they are fewer than it promises.
"""

import functools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from speechbrain.utils.importutils import LazyModule

PROMISED = 2000
EXAMPLES = Path(__file__).resolve().parents[2] / ".hypothesis" / "examples"
CASES = pytest.StashKey()

# Hypothesis asks all modules for their files, and SpeechBrain's lazy ones
# would import what is not installed.
LazyModule.__file__ = None

for name, options in {
    "quick": {"max_examples": 10, "derandomize": True, "database": None},
    "fuzz": {
        "max_examples": 150,
        "database": DirectoryBasedExampleDatabase(EXAMPLES),
    },
}.items():
    settings.register_profile(
        name,
        deadline=None,  # a machine may be busy; outcomes.py has a limit
        print_blob=True,
        # Every case makes its own folder; so fixtures may be shared.
        suppress_health_check=list(HealthCheck),
        **options,
    )
settings.load_profile("quick")


def pytest_collection_modifyitems(config, items):
    """Count the cases of each test."""
    config.stash[CASES] = {}
    for item in items:
        handle = getattr(getattr(item, "obj", None), "hypothesis", None)
        if handle and item.nodeid not in config.stash[CASES]:
            config.stash[CASES][item.nodeid] = 0
            handle.inner_test = _counted(
                handle.inner_test, config.stash[CASES], item.nodeid
            )


def _counted(test, cases, name):
    """Count a test's cases that came to their end."""

    @functools.wraps(test)
    def counted(*arguments, **options):
        test(*arguments, **options)
        cases[name] += 1

    return counted


def pytest_sessionfinish(session):
    """Fail if there were fewer cases than promised."""
    if _is_fuzz(session.config) and _count(session.config) < PROMISED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Report the number of cases."""
    if not _is_fuzz(config):
        return
    for name, count in config.stash.get(CASES, {}).items():
        terminalreporter.write_line(f"{count:6} {name}")
    count = _count(config)
    promised = "" if count >= PROMISED else f", fewer than {PROMISED}"
    terminalreporter.write_line(f"{count:6} cases{promised}")


def _is_fuzz(config):
    """Whether `make fuzz` called."""
    return config.getoption("--hypothesis-profile") == "fuzz"


def _count(config):
    """Count the cases of all tests."""
    return sum(config.stash.get(CASES, {}).values())
