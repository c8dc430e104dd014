"""The price book in the database: rows are added, never changed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import UTC, datetime

from google.protobuf.message import Message

from orchestra.ledger.v1 import entry_pb2
from orchestra_cost_ledger.adapters.sqlite import answers
from orchestra_cost_ledger.ports import Once, PriceQuery

_RATES = {
    "input": "input_nanos_per_million",
    "output": "output_nanos_per_million",
    "cached_input": "cached_input_nanos_per_million",
    "cache_write": "cache_write_nanos_per_million",
    "reasoning": "reasoning_nanos_per_million",
    "batch_factor": "batch_factor",
    "electricity": "electricity_nanos_per_kwh",
}
_STEP_RATES = ("input_nanos_per_million", "output_nanos_per_million", "cached_input_nanos_per_million")
_COLUMNS = ("price_version", "provider", "model", "valid_from", *_RATES, "steps", "source", "checked_on")


def add(db: sqlite3.Connection, price: entry_pb2.Price, once: Once | None = None) -> entry_pb2.Price:
    """The row with its version, a name made of what it says: the same row twice is one row."""
    if (before := answers.seen(db, once)) is not None:
        row = db.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM prices WHERE price_version = ?", (before,)
        ).fetchone()
        return _price(row)
    named = entry_pb2.Price()
    named.CopyFrom(price)
    named.price_version = version_of(price)
    db.execute(
        f"INSERT INTO prices ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
        " ON CONFLICT DO NOTHING",
        _row(named),
    )
    answers.keep(db, once, named.price_version)
    return named


def read(db: sqlite3.Connection, query: PriceQuery) -> list[entry_pb2.Price]:
    """By provider, model and date, newest first."""
    found = db.execute(
        f"""SELECT {", ".join(_COLUMNS)} FROM (
            SELECT *, row_number() OVER (PARTITION BY provider, model ORDER BY valid_from DESC, seq DESC) AS
            place FROM prices
            WHERE (:at IS NULL OR valid_from <= :at)
                AND (:provider = '' OR provider = :provider) AND (:model = '' OR model = :model)
        ) WHERE :at IS NULL OR place = 1
        ORDER BY provider, model, valid_from DESC, seq DESC LIMIT :limit OFFSET :offset""",
        {
            "at": query.at,
            "provider": query.provider,
            "model": query.model,
            "limit": query.limit,
            "offset": query.offset,
        },
    )
    return [_price(row) for row in found.fetchall()]


def version_of(price: entry_pb2.Price) -> str:
    """`provider/model@date#digest`, the same for the same content for ever."""
    content = entry_pb2.Price()
    content.CopyFrom(price)
    content.price_version = ""
    digest = hashlib.sha256(content.SerializeToString(deterministic=True)).hexdigest()[:10]
    day = datetime.fromtimestamp(price.valid_from.seconds, UTC).date()
    return f"{price.provider}/{price.model}@{day}#{digest}"


def _row(price: entry_pb2.Price) -> tuple[object, ...]:
    rates = [_given(price, name) for name in _RATES.values()]
    steps = [[step.from_prompt_tokens, *(_given(step, name) for name in _STEP_RATES)] for step in price.steps]
    checked_on = price.checked_on.ToMicroseconds() if price.HasField("checked_on") else None
    key = (price.price_version, price.provider, price.model, price.valid_from.ToMicroseconds())
    return (*key, *rates, json.dumps(steps), price.source, checked_on)


def _given(message: Message, field: str) -> int | float | None:
    return getattr(message, field) if message.HasField(field) else None


def _price(row: tuple[object, ...]) -> entry_pb2.Price:
    values = dict(zip(_COLUMNS, row, strict=True))
    price = entry_pb2.Price(
        price_version=str(values["price_version"]),
        provider=str(values["provider"]),
        model=str(values["model"]),
        source=str(values["source"]),
    )
    for column, name in _RATES.items():
        if values[column] is not None:
            setattr(price, name, values[column])
    for start, *rates in json.loads(str(values["steps"])):
        step = price.steps.add(from_prompt_tokens=start)
        # a row of an older build has fewer rates
        for name, rate in zip(_STEP_RATES, rates, strict=False):
            if rate is not None:
                setattr(step, name, rate)
    price.valid_from.FromMicroseconds(int(str(values["valid_from"])))
    if values["checked_on"] is not None:
        price.checked_on.FromMicroseconds(int(str(values["checked_on"])))
    return price
