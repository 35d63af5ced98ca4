"""Two-speaker separation on PolSESS: the recipe's library."""
