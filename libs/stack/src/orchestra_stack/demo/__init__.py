"""The demonstration: two small real models, sixteen coding tasks, everything they said on disk."""

from .run import Wish, run_demo

__all__ = ["Wish", "run_demo"]
