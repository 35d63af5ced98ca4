"""Stages of the hyperparameter search: run, watched, narrowed, validated."""
