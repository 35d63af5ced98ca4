"""Sweeps of hyperparameters: their files, and training as a trial of one."""
