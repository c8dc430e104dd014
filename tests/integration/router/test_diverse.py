"""One prompt, several models, and what is said about how they differ."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from orchestra.generation.v1 import event_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import WorkerLost
from orchestra_rpc import error_from_rpc, unpack_status

BOTH = ["smollm2-135m", "gemma3-270m"]
LOOP = "def f(n):\n    total = 0\n    for i in range(n):\n        total += i\n    return total\n"
CLOSED = "def f(n):\n    return n * (n - 1) // 2\n"


async def diverse(
    mesh: Any, request: pb.GenerateDiverseRequest
) -> tuple[list[event_pb2.GenerationEvent], pb.DiverseSummary]:
    responses = [response async for response in mesh.stub.GenerateDiverse(request)]
    assert [response.HasField("summary") for response in responses] == [False] * (len(responses) - 1) + [True]
    assert not responses[-1].events
    return [event for response in responses for event in response.events], responses[-1].summary


async def test_samples_are_spread_and_labelled_and_the_summary_comes_last(mesh: Any) -> None:
    mesh.node_a.script = mesh.script(LOOP)
    mesh.node_b.script = mesh.script(CLOSED)
    events, summary = await diverse(
        mesh,
        pb.GenerateDiverseRequest(
            generation=mesh.ask(model="", candidates=BOTH, n=5, rollout_id="r"), select=2
        ),
    )
    done = {event.sample_index: event.finished for event in events if event.HasField("finished")}
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert [done[index].provenance.model for index in range(5)] == ["smollm2-135m"] * 3 + ["gemma3-270m"] * 2
    assert len({one.provenance.sample_id for one in done.values()}) == 5
    assert (summary.finished, summary.failed) == (5, 0)
    assert summary.cost.nanos == 500
    assert summary.diversity.samples == 5
    assert summary.diversity.distinct_texts == 2
    assert [list(group.indexes) for group in summary.diversity.near_duplicates] == [[0, 1, 2], [3, 4]]
    chosen = {done[index].provenance.model for index in summary.selected}
    assert chosen == set(BOTH)
    assert {one.name for one in summary.diversity.measures} == {
        "lexical",
        "syntactic",
        "approach",
        "combined",
    }


async def test_a_plan_gives_each_model_its_samples(mesh: Any) -> None:
    request = pb.GenerateDiverseRequest(
        generation=mesh.ask(model=""),
        plan=[
            pb.ModelShare(model="gemma3-270m", samples=2),
            pb.ModelShare(model="smollm2-135m", samples=1),
        ],
    )
    events, summary = await diverse(mesh, request)
    models = [event.finished.provenance.model for event in events if event.HasField("finished")]
    assert sorted(models) == ["gemma3-270m", "gemma3-270m", "smollm2-135m"]
    assert list(sorted(summary.selected)) == [0, 1, 2]


async def test_a_failed_share_ends_each_of_its_samples_and_the_others_stand(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: [WorkerLost("smollm2-135m", "killed")]
    events, summary = await diverse(
        mesh, pb.GenerateDiverseRequest(generation=mesh.ask(model="", candidates=BOTH, n=4))
    )
    assert [mesh.kinds(events, index)[-1] for index in range(4)] == [
        "sample_failed",
        "sample_failed",
        "finished",
        "finished",
    ]
    assert (summary.finished, summary.failed) == (2, 2)


async def test_when_all_fail_the_summary_says_so(mesh: Any) -> None:
    for node in (mesh.node_a, mesh.node_b):
        node.script = lambda *_: [WorkerLost("it", "killed")]
    events, summary = await diverse(
        mesh, pb.GenerateDiverseRequest(generation=mesh.ask(model="", candidates=BOTH, n=2))
    )
    assert [unpack_status(event.sample_failed.status).reason for event in events] == ["WORKER_LOST"] * 2
    assert (summary.finished, summary.failed) == (0, 2)
    assert not summary.HasField("diversity")


async def test_what_is_wrong_around_the_request_is_named_with_what_is_wrong_in_it(mesh: Any) -> None:
    request = pb.GenerateDiverseRequest(
        generation=mesh.ask(model="", text="", n=3),
        plan=[pb.ModelShare(model="nobody", samples=2)],
        select=0,
        measures=["taste"],
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await diverse(mesh, request)
    fields = {violation.field for violation in error_from_rpc(caught.value).violations}
    assert fields == {"generation.text", "plan[0].model", "plan", "select", "measures[0]"}


async def test_stored_draws_serve_a_second_request_and_never_one_twice(mesh: Any) -> None:
    request = pb.GenerateDiverseRequest(generation=mesh.ask(model="", candidates=BOTH, n=4))
    first, _ = await diverse(mesh, request)
    await mesh.ledger.until(4)
    while sum(len(draws) for draws in mesh.cache.sets.values()) < 4:
        mesh.cache.stored.clear()
        await mesh.cache.stored.wait()
    again, summary = await diverse(mesh, request)
    ids = [e.finished.provenance.sample_id for e in again if e.HasField("finished")]
    assert sorted(ids) == sorted(e.finished.provenance.sample_id for e in first if e.HasField("finished"))
    assert (summary.cost.nanos, summary.cost.saved_nanos) == (0, 400)


async def test_measuring_given_answers(mesh: Any) -> None:
    answer = await mesh.stub.MeasureDiversity(
        pb.MeasureDiversityRequest(
            candidates=[pb.DiversityCandidate(text=text, model="m") for text in (LOOP, LOOP, CLOSED)],
            measures=["combined", "semantic"],
            return_similarity=True,
            select=2,
        )
    )
    (combined,) = answer.report.measures
    assert 1.5 < combined.effective_number < 2.5
    assert len(combined.similarity) == 9
    assert set(answer.selected) in ({0, 2}, {1, 2})
    assert "embedding" in answer.report.not_measured["semantic"]
