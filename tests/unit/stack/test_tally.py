"""The tally counts what the exit code depends on."""

from __future__ import annotations

from typing import Any

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
        "timings": {"total": "2.5s", "to_first_token": "0.5s"},
        "cost": {"nanos": 5},
        "provenance": {},
    } | more


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
