"""Series of runs: their files, and their tables."""
