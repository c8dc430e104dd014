"""A database of an older build keeps everything when a newer one opens it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra_cost_ledger.adapters.sqlite.migrations import MIGRATIONS, NewerDatabase
from orchestra_cost_ledger.adapters.sqlite.store import SqliteStore
from orchestra_cost_ledger.domain.entry import Entry
from orchestra_cost_ledger.domain.reservation import Held, Wish
from orchestra_cost_ledger.ports import PriceQuery


def database_of(path: Path, version: int) -> sqlite3.Connection:
    """As the build that knew so many steps left it."""
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT)")
    for number, (name, statements) in enumerate(MIGRATIONS[:version], start=1):
        for statement in statements:
            db.execute(statement)
        db.execute("INSERT INTO migrations (version, name) VALUES (?, ?)", (number, name))
    return db


async def test_reservations_and_prices_of_the_first_build_are_there(
    tmp_path: Path, new_wish: Callable[..., Wish], new_entry: Callable[..., Entry], now: int
) -> None:
    path = tmp_path / "ledger.sqlite"
    db = database_of(path, 1)
    row = ("res", "a", "held", 7, now + 5, "v1", "t", "", "openai", 3, "", "m", now)
    db.execute(f"INSERT INTO reservations VALUES ({', '.join('?' * len(row))})", row)
    db.execute(
        "INSERT INTO prices (price_version, provider, model, valid_from, input, steps, source)"
        " VALUES ('p', 'openai', 'm', 0, 5, ?, 'test')",
        (json.dumps([[128_001, 10, None]]),),
    )
    db.commit()
    db.close()
    store = await SqliteStore.open(path)
    assert await store.reserve([new_wish("a", 9)], now) == [Held("res", "a", 7, now + 5, "v1")]
    (price,) = await store.prices(PriceQuery(None, "", "", 9, 0))
    assert price.steps[0].input_nanos_per_million == 10
    assert not price.steps[0].HasField("cached_input_nanos_per_million")
    assert (await store.record([new_entry("b", cache_write_tokens=3)], [])).recorded == 1
    await store.close()


async def test_a_database_of_a_newer_build_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with database_of(path, len(MIGRATIONS)) as db:
        db.execute("INSERT INTO migrations (version, name) VALUES (?, 'tomorrow')", (len(MIGRATIONS) + 1,))
    db.close()
    with pytest.raises(NewerDatabase, match=f"this build knows {len(MIGRATIONS)}"):
        await SqliteStore.open(path)
