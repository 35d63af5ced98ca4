"""The corpus: its metadata, checks of its audio, and manifests."""
