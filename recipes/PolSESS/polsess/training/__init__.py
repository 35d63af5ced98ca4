"""Training: the brain, checkpoints, settings and several processes."""
