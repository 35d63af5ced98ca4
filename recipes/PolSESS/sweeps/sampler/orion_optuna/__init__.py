"""Optuna's multivariate TPE as an algorithm of Orion."""

from .algorithm import OptunaTPE

__all__ = ["OptunaTPE"]
