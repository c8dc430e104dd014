"""Rows keep numbers as numbers; the tally counts what the exit code depends on."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import duration_pb2

from orchestra.generation.v1 import event_pb2, provenance_pb2, usage_pb2
from orchestra_stack.demo.rows import plain
from orchestra_stack.demo.tally import Tally


def row(
    sample_id: str = "a", text: str = "x", reason: str = "FINISH_REASON_STOP", **more: Any
) -> dict[str, Any]:
    return {
        "task_id": "t",
        "model": "m",
        "sample_id": sample_id,
        "text": text,
        "finish_reason": reason,
        "usage": {"completion_tokens": 10},
        "timings": {"total": "2.0s"},
        "cost": {"nanos": 5},
        "provenance": {},
    } | more


def test_large_integers_are_numbers_and_absent_is_absent() -> None:
    finished = event_pb2.Finished(
        usage=usage_pb2.Usage(completion_tokens=7),
        cost=usage_pb2.Cost(nanos=123_456_789_012, saved_nanos=0),
        timings=usage_pb2.Timings(total=duration_pb2.Duration(seconds=1, nanos=500_000_000)),
        provenance=provenance_pb2.Provenance(sampling={"seed": 2**63 + 1, "temperature": 0.8}),
    )
    found = plain(finished)
    assert found["usage"] == {"completion_tokens": 7}
    assert found["cost"] == {"nanos": 123_456_789_012, "saved_nanos": 0}
    assert found["provenance"]["sampling"] == {"seed": 2**63 + 1, "temperature": 0.8}
    assert found["timings"]["total"] == "1.500s"
    assert json.loads(json.dumps(found)) == found


def test_a_whole_run_has_no_problems() -> None:
    tally = Tally(1, 2)
    tally.row(row("a", "x"))
    tally.row(row("b", "x", "FINISH_REASON_MAX_TOKENS"))
    assert tally.problems() == []
    assert (tally.samples, tally.equal_texts, tally.tokens, tally.cost_nanos) == (2, 1, 20, 10)
    assert tally.models["m"].tokens_per_second == 5.0


def test_a_stored_draw_counts_as_from_the_cache_and_not_as_speed() -> None:
    tally = Tally(1, 1)
    cached = {"cache": {"outcome": "CACHE_OUTCOME_STORED"}}
    tally.row(row(provenance=cached, cost={"nanos": 0, "saved_nanos": 9}))
    assert tally.from_cache == 1
    assert tally.models["m"].tokens_per_second is None
    assert tally.models["m"].saved_nanos == 9


def test_everything_that_is_not_whole_is_a_problem() -> None:
    tally = Tally(1, 4)
    tally.row(row("a"))
    tally.row(row("a"))
    tally.row(row("b", reason="FINISH_REASON_CONTENT_FILTER"))
    assert len(tally.problems()) == 3
    tally.failed("sample 3 failed")
    assert tally.problems()[0] == "sample 3 failed"
    assert not any("never ended" in problem for problem in tally.problems())
