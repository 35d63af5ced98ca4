#!/usr/bin/env python3
r"""Train a series: several settings, each with several seeds.

> python tools/run_series.py tools/series/baselines.yaml \
    --data_folder /corpora/PolSESS_C_16k --devices cuda:0 cuda:1
> python tools/run_series.py recipes/PolSESS/hparams/dprnn.yaml \
    --seeds 42 123 --data_folder /corpora/PolSESS_C_16k --lr 0.001

The file is a series, as in tools/series/, or the YAML file of a model. Options
that are not listed below are passed to train.py for every run, and replace
those of the series. A run's results and its output, terminal.log, are in
OUTPUT/NAME/SEED.

The same command again skips finished, early-stopped and diverged runs (unless
more epochs or more patience are given) and resumes the others. At the end two
tables are printed and written to OUTPUT/SERIES.md: a row per run, which
SERIES.csv has too, and a row per name with mean and sample standard deviation.
The exit status is 1 if a run failed, 130 after Ctrl-C.
"""

from experiments.series import train_series
from polsess.commands import run

if __name__ == "__main__":
    run(lambda arguments: train_series(arguments, __doc__)[0])
