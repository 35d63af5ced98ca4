r"""A parser that Orion 0.2.7's setup.py needs and Python 3.12 dropped.

> PYTHONPATH=$PWD/sweeps/build_orion \
    pip install --no-build-isolation orion==0.2.7
"""

import configparser


class SafeConfigParser(configparser.ConfigParser):
    """``ConfigParser`` by its earlier name."""

    readfp = configparser.ConfigParser.read_file


vars(configparser).setdefault("SafeConfigParser", SafeConfigParser)
