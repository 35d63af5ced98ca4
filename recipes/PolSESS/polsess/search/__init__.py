"""Hyperparameter search: a sweep's file, early termination, trials of Orion."""
