r"""A parser that Orion 0.2.7's setup.py needs and Python 3.12 dropped.

> PYTHONPATH=$PWD/sweeps/build_orion \
    pip install --no-build-isolation orion==0.2.7
"""

import configparser
from collections.abc import Iterable


class SafeConfigParser(configparser.ConfigParser):
    """``ConfigParser`` by its earlier name."""

    def readfp(self, fp: Iterable[str], filename: str | None = None) -> None:
        """Read a file that is open."""
        self.read_file(fp, filename)


vars(configparser).setdefault("SafeConfigParser", SafeConfigParser)
