"""Names that Orion 0.2.7's setup.py needs and Python 3.12 dropped.

> PYTHONPATH=sweeps/build_orion pip install --no-build-isolation orion==0.2.7
"""

import configparser

if not hasattr(configparser, "SafeConfigParser"):
    configparser.SafeConfigParser = configparser.ConfigParser
    configparser.ConfigParser.readfp = configparser.ConfigParser.read_file
