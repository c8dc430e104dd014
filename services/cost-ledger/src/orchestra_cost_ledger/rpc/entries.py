"""Usage entries and feedback out of messages. Written for speed: every attempt of the mesh passes here."""

from __future__ import annotations

import json
from collections.abc import Iterable

from orchestra.generation.v1 import usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_cost_ledger.domain.entry import Entry, EntryState, Feedback
from orchestra_cost_ledger.rpc.moments import duration_us, given_us
from orchestra_errors import Violations

_COUNTS = (
    "prompt_tokens",
    "cached_prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cache_write_tokens",
)
_AMOUNTS = ("nanos", "electricity_nanos", "hardware_nanos", "saved_nanos")
_STATES = frozenset(state.value for state in EntryState)
MOST_ENTRIES = 10_000


def to_entries(messages: Iterable[entry_pb2.UsageEntry], now: int, found: Violations) -> list[Entry]:
    """An entry without `occurred_at` is of `now`. Notes every violation in `found`; use the result only
    without any.
    """
    entries = []
    for index, message in enumerate(messages):
        if index >= MOST_ENTRIES:
            found.add("entries", f"must be at most {MOST_ENTRIES}")
            break
        if not message.attempt_id or message.state not in _STATES or _negative(message):
            _explain(message, f"entries[{index}].", found)
        entries.append(_entry(message, now))
    return entries


def to_feedback(messages: Iterable[entry_pb2.Feedback], now: int, found: Violations) -> list[Feedback]:
    judgements = []
    for index, message in enumerate(messages):
        found.require(bool(message.sample_id), f"feedback[{index}].sample_id", "must be set")
        judgements.append(
            Feedback(
                message.sample_id,
                message.tenant,
                message.run_id,
                message.accepted if message.HasField("accepted") else None,
                message.reward if message.HasField("reward") else None,
                dict(message.labels),
                now if (given := given_us(message, "given_at")) is None else given,
            )
        )
    return judgements


def _entry(m: entry_pb2.UsageEntry, now: int) -> Entry:
    usage, cost, timings = m.usage, m.cost, m.timings
    counted, costs, timed = usage.HasField, cost.HasField, timings.HasField
    occurred_at = given_us(m, "occurred_at")
    return Entry(
        m.attempt_id,
        m.request_id,
        m.sample_id,
        m.sample_index,
        m.tenant,
        m.run_id,
        m.phase,
        m.tier,
        m.provider,
        m.model,
        m.revision,
        m.node_id,
        m.state,
        usage.prompt_tokens if counted("prompt_tokens") else None,
        usage.cached_prompt_tokens if counted("cached_prompt_tokens") else None,
        usage.completion_tokens if counted("completion_tokens") else None,
        usage.reasoning_tokens if counted("reasoning_tokens") else None,
        usage.cache_write_tokens if counted("cache_write_tokens") else None,
        duration_us(timings.queued) if timed("queued") else None,
        duration_us(timings.to_first_token) if timed("to_first_token") else None,
        duration_us(timings.total) if timed("total") else None,
        duration_us(timings.device_share) if timed("device_share") else None,
        cost.state or usage_pb2.COST_STATE_UNKNOWN,
        cost.nanos if costs("nanos") else None,
        cost.electricity_nanos if costs("electricity_nanos") else None,
        cost.hardware_nanos if costs("hardware_nanos") else None,
        cost.saved_nanos if costs("saved_nanos") else None,
        cost.price_version,
        m.finish_reason,
        json.dumps(dict(m.labels)) if m.labels else None,
        m.trace_id,
        m.reservation_id,
        now if occurred_at is None else occurred_at,
        int(m.from_cache),
        m.error_reason,
    )


def _negative(m: entry_pb2.UsageEntry) -> bool:
    u, c = m.usage, m.cost
    return (
        u.prompt_tokens < 0
        or u.cached_prompt_tokens < 0
        or u.completion_tokens < 0
        or u.reasoning_tokens < 0
        or u.cache_write_tokens < 0
        or c.nanos < 0
        or c.electricity_nanos < 0
        or c.hardware_nanos < 0
        or c.saved_nanos < 0
    )


def _explain(m: entry_pb2.UsageEntry, prefix: str, found: Violations) -> None:
    found.require(bool(m.attempt_id), f"{prefix}attempt_id", "must be set")
    found.require(m.state in _STATES, f"{prefix}state", "must be one of the contract's states")
    for part, names in (("usage", _COUNTS), ("cost", _AMOUNTS)):
        for name in names:
            value = getattr(getattr(m, part), name)
            found.require(value >= 0, f"{prefix}{part}.{name}", f"must not be negative, got {value}")
