"""Optuna's Gaussian process and TPE as algorithms of Orion."""

from .algorithms import OptunaGP, OptunaTPE

__all__ = ["OptunaGP", "OptunaTPE"]
