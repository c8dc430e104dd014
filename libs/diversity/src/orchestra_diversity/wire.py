"""Frames between parent and child: JSON for values, raw doubles for matrices. Nothing in them can run code.

A frame is two big-endian unsigned 32-bit lengths (JSON bytes, then matrix bytes), the JSON object, the matrix
bytes.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .samples import DiversityReport, LexicalFigures, Matrix, Measure, ModelContribution, Reading

HEADER = struct.Struct(">II")
_KERNELS = ("lexical", "syntactic", "approach", "semantic", "combined")
Fields = dict[str, Any]


def frame(fields: Fields, doubles: bytes = b"") -> bytes:
    text = json.dumps(fields).encode("ascii")
    return HEADER.pack(len(text), len(doubles)) + text + doubles


def encode_doubles(rows: Sequence[Sequence[float]]) -> bytes:
    flat = array("d")
    for row in rows:
        flat.extend(row)
    return flat.tobytes()


def decode_doubles(data: bytes, width: int) -> Matrix:
    """Rows of `width` doubles; no rows when there are no bytes."""
    flat = array("d")
    flat.frombytes(data)
    return tuple(tuple(flat[start : start + width]) for start in range(0, len(flat), width))


def encode_report(report: DiversityReport) -> bytes:
    kernels: Fields = {}
    doubles = b""
    for name in _KERNELS:
        kernel: Measure | None = getattr(report, name)
        if kernel is not None:
            kernels[name] = [kernel.effective_number, kernel.mean_distance]
            doubles += encode_doubles(kernel.similarity)
    fields = {
        "readings": [asdict(reading) for reading in report.readings],
        "kernels": kernels,
        "lexical_figures": asdict(report.lexical_figures),
        "groups": report.groups,
        "equal_texts": report.equal_texts,
        "equal_codes": report.equal_codes,
        "models": [asdict(model) for model in report.models],
    }
    return frame({"report": fields}, doubles)


def decode_report(fields: Fields, doubles: bytes) -> DiversityReport:
    n = len(fields["readings"])
    rows = decode_doubles(doubles, n)
    kernels = {
        name: Measure(rows[at * n : (at + 1) * n], *figures)
        for at, (name, figures) in enumerate(fields["kernels"].items())
    }
    figures = fields["lexical_figures"]
    one, two, three, four = figures["distinct"]
    return DiversityReport(
        readings=tuple(Reading(**reading) for reading in fields["readings"]),
        lexical=kernels["lexical"],
        lexical_figures=LexicalFigures((one, two, three, four), figures["self_bleu"], figures["compression"]),
        syntactic=kernels["syntactic"],
        approach=kernels["approach"],
        semantic=kernels.get("semantic"),
        combined=kernels["combined"],
        groups=_groups(fields["groups"]),
        equal_texts=_groups(fields["equal_texts"]),
        equal_codes=_groups(fields["equal_codes"]),
        models=tuple(ModelContribution(**model) for model in fields["models"]),
    )


def _groups(lists: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(group) for group in lists)
