"""A real store in a fresh place, and short ways to make values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from orchestra_cost_ledger.adapters.sqlite.store import SqliteStore
from orchestra_cost_ledger.domain.budget import Budget
from orchestra_cost_ledger.domain.entry import Dimensions, Entry, EntryState
from orchestra_cost_ledger.domain.moment import Period
from orchestra_cost_ledger.domain.reservation import Wish
from orchestra_cost_ledger.ports import LedgerStore

NOW = 1_795_348_800_000_000  # a Sunday in November 2026, at noon UTC
EMPTY: dict[Any, Any] = {str: "", int: 0}
HOUR = 3_600_000_000


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LedgerStore]:
    """Every store that there is; what is tested with it is the contract that all of them keep."""
    opened = await SqliteStore.open(tmp_path / "ledger.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
def now() -> int:
    return NOW


@pytest.fixture
def new_entry() -> Callable[..., Entry]:
    def make(attempt_id: str, **fields: Any) -> Entry:
        values: dict[str, Any] = {name: EMPTY.get(kind) for name, kind in get_type_hints(Entry).items()}
        values |= {"attempt_id": attempt_id, "state": EntryState.SETTLED, "occurred_at": NOW, "tenant": "t"}
        return Entry(**(values | fields))

    return make


@pytest.fixture
def new_budget() -> Callable[..., Budget]:
    def make(name: str, limit_nanos: int, **fields: Any) -> Budget:
        values: dict[str, Any] = {
            "budget_id": f"id-{name}",
            "tenant": "",
            "run_id": "",
            "provider": "",
            "tier": 0,
            "phase": "",
            "period": Period.MONTH,
            "hard": True,
            "alert_at": (),
            "frozen": False,
            "created_at": NOW,
        }
        return Budget(name=name, limit_nanos=limit_nanos, **(values | fields))

    return make


@pytest.fixture
def new_wish() -> Callable[..., Wish]:
    def make(attempt_id: str, nanos: int | None, expires_at: int = NOW + HOUR, **dimensions: Any) -> Wish:
        values: dict[str, Any] = {"tenant": "t", "run_id": "", "provider": "openai", "tier": 3, "phase": ""}
        return Wish(attempt_id, Dimensions(**(values | dimensions)), "m", nanos, expires_at, "v1")

    return make
