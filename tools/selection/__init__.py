"""Finalists out of the trials of a hyperparameter search."""
