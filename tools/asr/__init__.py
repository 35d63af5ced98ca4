"""Evaluation with speech recognisers."""
