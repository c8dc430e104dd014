"""Sums over entries."""

from __future__ import annotations

import sqlite3

from orchestra_cost_ledger.domain.report import LABEL_PREFIX, CostFilter, CostQuery, CostSum

_COLUMNS = {
    "tenant": "e.tenant",
    "run": "e.run_id",
    "phase": "e.phase",
    "tier": "e.tier",
    "provider": "e.provider",
    "model": "e.model",
    "node": "e.node_id",
    "state": "e.state",
}
_SUMS = """count(*), sum(e.finish_reason <> 0), sum(e.error_reason <> ''), sum(e.from_cache),
    coalesce(sum(e.cost_nanos), 0), coalesce(sum(e.saved_nanos), 0), sum(e.cost_nanos IS NULL),
    coalesce(sum(e.prompt_tokens), 0), coalesce(sum(e.cached_prompt_tokens), 0),
    coalesce(sum(e.completion_tokens), 0), coalesce(sum(e.reasoning_tokens), 0),
    coalesce(sum(e.electricity_nanos), 0), coalesce(sum(e.hardware_nanos), 0),
    count(DISTINCT CASE WHEN f.accepted THEN e.sample_id END),
    sum(e.prompt_tokens IS NULL OR e.completion_tokens IS NULL)"""


def query(db: sqlite3.Connection, wanted: CostQuery) -> list[CostSum]:
    """Rows in the order of their bucket and keys; groups without entries have none."""
    terms, values = where(wanted.filter)
    keys = []
    for number, name in enumerate(wanted.group_by):
        if name.startswith(LABEL_PREFIX):
            path = name.removeprefix(LABEL_PREFIX).replace('"', "")
            values[f"label{number}"] = f'$."{path}"'
            keys.append(f"coalesce(json_extract(e.labels, :label{number}), '')")
        else:
            keys.append(_COLUMNS[name])
    bucket = "NULL"
    if wanted.bucket_us is not None:
        values |= {"bucket": wanted.bucket_us, "origin": wanted.filter.since or 0}
        bucket = ":origin + (e.occurred_at - :origin) / :bucket * :bucket"
    chosen = ", ".join([f"{bucket} AS bucket_from", *keys])
    groups = ", ".join(str(place) for place in range(1, len(keys) + 2))
    rows = db.execute(
        f"SELECT {chosen}, {_SUMS} FROM entries e"
        " LEFT JOIN feedback f ON f.tenant = e.tenant AND f.sample_id = e.sample_id"
        f" WHERE {terms} GROUP BY {groups} ORDER BY {groups} LIMIT :limit OFFSET :offset",
        values | {"limit": wanted.limit, "offset": wanted.offset},
    )
    return [_sum(row, len(keys)) for row in rows.fetchall()]


def where(chosen: CostFilter) -> tuple[str, dict[str, object]]:
    """The condition on `entries e`, and its values."""
    equal = {
        "tenant": chosen.tenant,
        "run_id": chosen.run_id,
        "phase": chosen.phase,
        "tier": chosen.tier,
        "provider": chosen.provider,
        "model": chosen.model,
        "request_id": chosen.request_id,
    }
    values: dict[str, object] = {name: value for name, value in equal.items() if value}
    terms = [f"e.{name} = :{name}" for name in values]
    if "run_id" in values:
        terms.append("e.run_id <> ''")  # what the partial index needs to see
    if chosen.since is not None:
        terms.append("e.occurred_at >= :since")
        values["since"] = chosen.since
    if chosen.until is not None:
        terms.append("e.occurred_at < :until")
        values["until"] = chosen.until
    return " AND ".join(terms) or "TRUE", values


def _sum(row: tuple[int | str | None, ...], keys: int) -> CostSum:
    bucket, *rest = row
    sums = [int(value or 0) for value in rest[keys:]]
    return CostSum(tuple(str(key) for key in rest[:keys]), None if bucket is None else int(bucket), *sums)
