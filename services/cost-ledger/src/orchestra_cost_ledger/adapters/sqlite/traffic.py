"""Local attempts by length of their prompt."""

from __future__ import annotations

import sqlite3

from orchestra.generation.v1 import usage_pb2
from orchestra_cost_ledger.adapters.sqlite.reports import where
from orchestra_cost_ledger.domain.budget import LOCAL
from orchestra_cost_ledger.domain.comparison import Traffic, TrafficQuery
from orchestra_cost_ledger.domain.entry import EntryState

_KNOWN = (
    "e.cost_nanos IS NOT NULL AND e.prompt_tokens IS NOT NULL AND e.completion_tokens IS NOT NULL"
    f" AND e.state <> {EntryState.UNKNOWN.value}"
)
_SUMMED = (
    "e.prompt_tokens",
    "e.completion_tokens",
    "e.cost_nanos",
    # what of a cost is not the hardware's share is power
    "coalesce(e.electricity_nanos, e.cost_nanos - coalesce(e.hardware_nanos, 0))",
    "e.hardware_nanos",
)


def local(db: sqlite3.Connection, wanted: TrafficQuery) -> list[Traffic]:
    """In the order of length; classes without attempts are absent."""
    terms, values = where(wanted.filter)
    starts = sorted(wanted.from_prompt_tokens, reverse=True)
    # numbers of our own price book, and SQLite has no array to bind
    classes = " ".join(f"WHEN e.prompt_tokens >= {int(start)} THEN {int(start)}" for start in starts)
    sums = ", ".join(f"coalesce(sum({name}) FILTER (WHERE {_KNOWN}), 0)" for name in _SUMMED)
    rows = db.execute(
        f"SELECT CASE {classes} ELSE 0 END AS from_prompt_tokens, count(*) FILTER (WHERE {_KNOWN}),"
        f" count(*) FILTER (WHERE NOT ({_KNOWN})),"
        f" count(*) FILTER (WHERE {_KNOWN} AND e.cost_state = :estimated), {sums}, min(e.occurred_at)"
        f" FROM entries e WHERE {terms} AND e.provider = :local AND e.state <> :voided AND NOT e.from_cache"
        " GROUP BY 1 ORDER BY 1",
        values
        | {"local": LOCAL, "voided": EntryState.VOIDED.value, "estimated": usage_pb2.COST_STATE_ESTIMATED},
    )
    return [Traffic(*row) for row in rows.fetchall()]
