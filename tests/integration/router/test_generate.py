"""One prompt through a real router to a real server that follows a script."""

from __future__ import annotations

from typing import Any

from orchestra.generation.v1 import provenance_pb2, usage_pb2


async def test_an_answer_passes_with_its_provenance_completed_and_its_cost_named(mesh: Any) -> None:
    events = await mesh.generate(mesh.ask(run_id="run-1"))

    assert mesh.kinds(events) == ["started", "text_delta", "text_delta", "text_delta", "finished"]
    assert mesh.text(events) == "Hello, world"
    provenance = events[-1].finished.provenance
    assert provenance.model == "smollm2-135m"
    assert provenance.node_id == "node-a"
    assert provenance.cache.outcome == provenance_pb2.CACHE_OUTCOME_MISS
    assert provenance.phase == "phase_2_context_engineering"
    assert provenance.run_id == "run-1"
    assert len(provenance.trace_id) == 32
    assert provenance.price_version == "local-1"
    cost = events[-1].finished.cost
    # 36 W for 0.1 s are 10^-6 kWh, at 0.1 dollars each
    assert (cost.state, cost.nanos) == (usage_pb2.COST_STATE_ESTIMATED, 100)


async def test_the_attempt_is_recorded_and_the_draw_stored(mesh: Any) -> None:
    events = await mesh.generate(mesh.ask(run_id="run-1", rollout_id="r"))
    done = events[-1].finished

    (entry,) = await mesh.ledger.until(1)
    assert entry.attempt_id == done.provenance.attempt_id
    assert (entry.run_id, entry.model, entry.sample_id) == (
        "run-1",
        "smollm2-135m",
        done.provenance.sample_id,
    )
    assert entry.cost.nanos == 100
    await mesh.cache.stored.wait()
    (stored,) = mesh.cache.stores
    assert [event.WhichOneof("event") for event in stored.samples[0].events] == [
        "started",
        "text_delta",
        "finished",
    ]
    assert stored.samples[0].sample_id == done.provenance.sample_id
