"""What `export.py` does: a folder of a trained model, for others."""
