"""The ledger against a small model of it, over random stories: reserve, settle, release, expire, repeat,
restart.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar, get_type_hints

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestra_cost_ledger.adapters.sqlite.store import SqliteStore
from orchestra_cost_ledger.domain.budget import Budget
from orchestra_cost_ledger.domain.entry import Dimensions, Entry, EntryState
from orchestra_cost_ledger.domain.moment import Period
from orchestra_cost_ledger.domain.reservation import Held, Wish

T = TypeVar("T")
NOW = 1_795_348_800_000_000
LIMITS = {"": 100, "openai": 60}
attempts = st.integers(0, 15).map(str)
providers = st.sampled_from(["openai", "google"])


def entry_of(attempt_id: str, provider: str, **fields: object) -> Entry:
    empty: dict[object, object] = {str: "", int: 0}
    values: dict[str, object] = {name: empty.get(kind) for name, kind in get_type_hints(Entry).items()}
    values |= {"attempt_id": attempt_id, "provider": provider, "occurred_at": NOW}
    return Entry(**(values | fields))  # type: ignore[arg-type]


class Books(RuleBasedStateMachine):
    """`held` maps an attempt to (provider, nanos, expiry or None, reservation id)."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.now = NOW
        self.held: dict[str, tuple[str, int, int | None, str]] = {}
        self.ids: dict[str, str] = {}
        self.recorded: dict[str, tuple[str, int | None]] = {}
        self._open()
        for provider, limit in LIMITS.items():
            budget = Budget(
                f"b{provider}",
                provider or "all",
                "",
                "",
                provider,
                0,
                "",
                Period.MONTH,
                limit,
                True,
                (),
                False,
                NOW,
            )
            self._run(self.store.create_budget(budget, NOW, None))

    def _open(self) -> None:
        self.store = self._run(SqliteStore.open(Path(self.folder.name) / "ledger.sqlite"))

    def _run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)  # type: ignore[arg-type]

    def _expire(self) -> None:
        self.held = {
            key: value for key, value in self.held.items() if value[2] is None or value[2] > self.now
        }

    def _spent(self, provider: str) -> int:
        return sum(cost or 0 for name, cost in self.recorded.values() if provider in ("", name))

    def _reserved(self, provider: str) -> int:
        return sum(nanos for name, nanos, _, _ in self.held.values() if provider in ("", name))

    @rule(attempt=attempts, provider=providers, nanos=st.integers(0, 40), ttl=st.integers(1, 6))
    def reserve(self, attempt: str, provider: str, nanos: int, ttl: int) -> None:
        self._expire()
        wish = Wish(attempt, Dimensions("t", "", provider, 0, ""), "m", nanos, self.now + ttl, "")
        (outcome,) = self._run(self.store.reserve([wish], self.now))
        if attempt in self.held:
            assert isinstance(outcome, Held)
            assert outcome.reservation_id == self.held[attempt][3]
        elif self.ids.get(attempt, "").startswith("settled:"):
            assert isinstance(outcome, Held)
        else:
            fits = all(
                self._spent(name) + self._reserved(name) + nanos <= limit
                for name, limit in LIMITS.items()
                if name in ("", provider)
            )
            assert isinstance(outcome, Held) == fits
            if isinstance(outcome, Held):
                self.held[attempt] = (provider, nanos, self.now + ttl, outcome.reservation_id)
                self.ids[attempt] = outcome.reservation_id

    @rule(attempt=attempts, cost=st.none() | st.integers(0, 40), voided=st.booleans())
    def settle(self, attempt: str, cost: int | None, voided: bool) -> None:
        if attempt not in self.ids:
            return
        reservation = self.ids[attempt].removeprefix("settled:")
        provider = self.held[attempt][0] if attempt in self.held else "openai"
        state = EntryState.UNKNOWN if cost is None else EntryState.VOIDED if voided else EntryState.SETTLED
        cost = 0 if voided and cost is not None else cost
        new = entry_of(attempt, provider, reservation_id=reservation, cost_nanos=cost, state=state)
        done = self._run(self.store.record([new], []))
        assert done.recorded == (attempt not in self.recorded)
        if attempt in self.recorded:
            return
        self.recorded[attempt] = (provider, cost)
        if attempt not in self.held:
            return
        if cost is None:
            held = self.held[attempt]
            self.held[attempt] = (held[0], held[1], None, held[3])
        else:
            del self.held[attempt]
            self.ids[attempt] = f"settled:{reservation}"

    @rule(attempt=attempts)
    def release(self, attempt: str) -> None:
        if attempt in self.ids:
            released = self._run(self.store.release([self.ids[attempt].removeprefix("settled:")]))
            assert released == (self.held.pop(attempt, None) is not None)

    @rule(later=st.integers(1, 4))
    def wait(self, later: int) -> None:
        self.now += later
        self._run(self.store.reserve([], self.now))
        self._expire()

    @rule()
    def restart(self) -> None:
        self._run(self.store.close())
        self._open()

    @invariant()
    def the_books_balance(self) -> None:
        for provider in LIMITS:
            standing = self._run(self.store.budget(f"b{provider}", self.now))
            assert standing.spent_nanos == self._spent(provider)
            assert standing.reserved_nanos == self._reserved(provider)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self._run(self.store.close())
            self.loop.close()
            self.folder.cleanup()


Books.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBooks = Books.TestCase
