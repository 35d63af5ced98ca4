"""The steps of ``prepare_polsess``: metadata, audio, checks, manifests."""
