"""Scoring: objective, metrics, test sets, and the evaluation of a run."""
