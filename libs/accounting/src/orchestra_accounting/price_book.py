"""Which row of the price book holds for a model at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime

from orchestra.ledger.v1 import entry_pb2

ANY_MODEL = "*"


class PriceBook:
    """An immutable snapshot of rows; a newer snapshot is a new book."""

    def __init__(self, prices: Iterable[entry_pb2.Price] = ()) -> None:
        self._rows: dict[tuple[str, str], list[tuple[int, entry_pb2.Price]]] = {}
        for price in prices:
            row = (price.valid_from.ToMicroseconds(), price)
            self._rows.setdefault((price.provider, price.model), []).append(row)
        for rows in self._rows.values():
            rows.sort(key=lambda row: row[0])

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows.values())

    def lookup(self, provider: str, model: str, at: datetime | None = None) -> entry_pb2.Price | None:
        """The newest row that held at `at` (absent: now), else the provider's `*` row; None: the price is not
        known. Of two rows from the same moment the later in the list counts."""
        moment = int((at or datetime.now(UTC)).timestamp() * 1_000_000)
        for name in (model, ANY_MODEL):
            rows = self._rows.get((provider, name), [])
            if place := bisect_right(rows, moment, key=lambda row: row[0]):
                return rows[place - 1][1]
        return None
