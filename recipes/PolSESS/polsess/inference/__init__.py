"""Separation of recordings with trained models."""

from polsess.inference.separation import SpeechSeparation

__all__ = ["SpeechSeparation"]
