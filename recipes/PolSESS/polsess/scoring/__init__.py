"""What `evaluate.py` does: mixtures, estimates, scores, files."""
