"""How many really different answers a set of samples holds, and which of them to keep.

Names are imported when they are first used, so that a service which only holds a `DiversityProcess` never
loads numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contribution import marginal_contributions
    from .extract import extract_code
    from .grouping import equal_groups, near_duplicates
    from .kernels import effective_number, mean_distance
    from .process import DiversityBusy, DiversityFailed, DiversityProcess, Limits
    from .report import measure
    from .samples import (
        DiversityReport,
        Extract,
        LexicalFigures,
        Measure,
        ModelContribution,
        Reading,
        Sample,
    )
    from .selection import select_diverse

_HOMES = {
    "contribution": ("marginal_contributions",),
    "extract": ("extract_code",),
    "grouping": ("equal_groups", "near_duplicates"),
    "kernels": ("effective_number", "mean_distance"),
    "process": ("DiversityBusy", "DiversityFailed", "DiversityProcess", "Limits"),
    "report": ("measure",),
    "samples": (
        "DiversityReport",
        "Extract",
        "LexicalFigures",
        "Measure",
        "ModelContribution",
        "Reading",
        "Sample",
    ),
    "selection": ("select_diverse",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "DiversityBusy",
    "DiversityFailed",
    "DiversityProcess",
    "DiversityReport",
    "Extract",
    "LexicalFigures",
    "Limits",
    "Measure",
    "ModelContribution",
    "Reading",
    "Sample",
    "effective_number",
    "equal_groups",
    "extract_code",
    "marginal_contributions",
    "mean_distance",
    "measure",
    "near_duplicates",
    "select_diverse",
]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{module}", __name__), name)
