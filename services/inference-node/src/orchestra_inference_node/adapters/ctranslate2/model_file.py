"""What a model.bin of CTranslate2 says about itself, and whether it is whole. Reads no weights."""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from orchestra_errors import DataLoss

_VERSIONS = range(5, 7)
# by number of type: name and bytes of one
_TYPES = {0: ("F32", 4), 1: ("INT8", 1), 2: ("INT16", 2), 3: ("INT32", 4), 4: ("F16", 2), 5: ("BF16", 2)}
_POSITIONS = "encoder/position_encodings/encodings"
_MOST_DIMENSIONS = 8


@dataclass(slots=True)
class BinFacts:
    """`kind` is the name of the specification, `weights` counts numbers by their type, `shapes` are those of
    all variables."""

    kind: str = ""
    weights: Counter[str] = field(default_factory=Counter)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> BinFacts:
        """Raises DataLoss for a file that is none of CTranslate2 or is cut short, OSError when it cannot be
        read."""
        facts = cls()
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                facts._read(_Cursor(data))
        except (struct.error, ValueError, KeyError) as error:
            # an empty file cannot be mapped, which is a ValueError
            raise DataLoss(str(path), "it is no model of CTranslate2, or is cut short") from error
        return facts

    @property
    def quantization(self) -> str:
        """The type of most of its weights."""
        return max(self.weights, key=lambda name: self.weights[name], default="")

    @property
    def positions(self) -> int | None:
        """How many places a text may have; None for a model that counts distances instead."""
        shape = self.shapes.get(_POSITIONS)
        return shape[0] if shape else None

    def rows(self, *names: str) -> int | None:
        """Rows of the first of these tables that is there."""
        return next((self.shapes[name][0] for name in names if self.shapes.get(name)), None)

    def _read(self, cursor: _Cursor) -> None:
        if cursor.number("I") not in _VERSIONS:
            raise ValueError("version")
        self.kind = cursor.text()
        cursor.number("I")
        for _ in range(cursor.number("I")):
            name = cursor.text()
            dimensions = cursor.number("B")
            if dimensions > _MOST_DIMENSIONS:
                raise ValueError("dimensions")
            shape = tuple(cursor.number("I") for _ in range(dimensions))
            kind, size = _TYPES[cursor.number("B")]
            stored = cursor.number("I")
            if stored != prod(shape) * size & 0xFFFFFFFF:
                raise ValueError("size")
            cursor.skip(prod(shape) * size)
            self.shapes[name] = shape
            self.weights[kind] += prod(shape)
        for _ in range(cursor.number("I")):
            alias, name = cursor.text(), cursor.text()
            self.shapes[alias] = self.shapes[name]


class _Cursor:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from(f"<{kind}", self._data, self._at)
        self._at += struct.calcsize(f"<{kind}")
        return int(value)

    def text(self) -> str:
        """Its length is given with the zero at its end."""
        size = self.number("H")
        begin = self._at
        self.skip(size)
        return self._data[begin : self._at - 1].decode()

    def skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._data):
            raise ValueError("cut")
