"""Training: the brain, checkpoints, settings, reports, fine-tuning."""
