"""Training data: mixtures rendered from a corpus, and their order."""
