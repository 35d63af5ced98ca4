"""What `train.py` does as a trial of the hyperparameter search."""
