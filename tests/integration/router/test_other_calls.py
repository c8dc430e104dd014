"""Explaining, listing, runs, feedback, priced models, and what is not there yet."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.models.v1 import model_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import BudgetExceeded
from orchestra_rpc import error_from_rpc


async def test_explaining_shows_every_target_with_its_rank_or_why_it_is_out(mesh: Any) -> None:
    answer = await mesh.stub.ExplainRoute(pb.ExplainRouteRequest(generation=mesh.ask()))
    best, *others = answer.candidates
    assert (best.model, best.rank, best.eligible) == ("smollm2-135m", 1, True)
    assert best.score_source
    gemma = next(one for one in others if one.model == "gemma3-270m")
    assert (gemma.eligible, gemma.reason) == (False, "SUBSTITUTION_REFUSED")
    assert answer.phase == "phase_2_context_engineering"
    assert answer.HasField("snapshot_age")
    assert mesh.node_a.legs == []


async def test_models_are_listed_as_available_as_they_are(mesh: Any) -> None:
    mesh.manager.extra = [
        model_pb2.Placement(
            placement_id="node-a/starcoder2-15b",
            model="starcoder2-15b",
            node_id="node-a",
            state=model_pb2.PLACEMENT_STATE_LOADING,
            state_reason="3 of 9 GB",
        )
    ]
    await mesh.publish()
    models: dict[str, pb.AvailableModel] = {}
    token = ""
    while True:
        page = await mesh.stub.ListModels(pb.ListModelsRequest(page_size=7, page_token=token))
        models |= {model.name: model for model in page.models}
        token = page.next_page_token
        if not token:
            break
    assert models["smollm2-135m"].availability == pb.AVAILABILITY_SERVING
    assert models["smollm2-135m"].replicas == 1
    assert models["starcoder2-15b"].availability == pb.AVAILABILITY_LOADING
    assert "3 of 9 GB" in models["starcoder2-15b"].availability_reason
    assert models["codellama-34b"].availability == pb.AVAILABILITY_NOT_PLACED
    assert models["gpt-4o"].availability == pb.AVAILABILITY_SERVING
    assert models["claude-opus"].availability == pb.AVAILABILITY_NOT_CONFIGURED
    serving = await mesh.stub.ListModels(pb.ListModelsRequest(serving_only=True, page_size=100))
    assert {"smollm2-135m", "gemma3-270m", "gpt-4o"} <= {model.name for model in serving.models}
    assert "codellama-34b" not in {model.name for model in serving.models}


async def test_cancelling_a_run_ends_what_runs_and_refuses_what_comes(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: ["started", "a", asyncio.Event()]

    async def one() -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await mesh.generate(mesh.ask(run_id="run-x"))
        return caught.value

    calls = [asyncio.create_task(one()) for _ in range(3)]
    running = mesh.router.servicer._flows.runs._running
    async with asyncio.timeout(5):
        while running.count("default", "run-x") < 3 or len(mesh.node_a.legs) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        answer = await mesh.stub.CancelRun(pb.CancelRunRequest(run_id="run-x", reason="enough"))
        errors = [await call for call in calls]
    assert answer.cancelled_requests == 3
    assert answer.run.state == pb.RUN_STATE_CANCELLED
    assert {error_from_rpc(error).reason for error in errors} == {"RUN_CANCELLED"}
    later = await one()
    assert later.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_from_rpc(later).reason == "RUN_CANCELLED"
    async with asyncio.timeout(5):
        await mesh.node_a.cancelled.wait()


async def test_a_run_shows_what_the_ledger_has_and_what_runs_here(mesh: Any) -> None:
    await mesh.generate(mesh.ask(run_id="run-1"))
    await mesh.ledger.until(1)
    run = (await mesh.stub.GetRun(pb.GetRunRequest(run_id="run-1"))).run
    assert (run.state, run.samples_finished, run.cost_nanos) == (pb.RUN_STATE_IDLE, 1, 100)
    runs = (await mesh.stub.ListRuns(pb.ListRunsRequest())).runs
    assert [one.run_id for one in runs] == ["run-1"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.stub.GetRun(pb.GetRunRequest(run_id="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_feedback_is_recorded_before_it_is_answered(mesh: Any) -> None:
    feedback = [
        pb.SampleFeedback(sample_id="s-1", reward=0.5),
        pb.SampleFeedback(sample_id="s-2", accepted=True),
    ]
    answer = await mesh.stub.RecordFeedback(pb.RecordFeedbackRequest(request_id="f-1", feedback=feedback))
    assert answer.recorded == 2
    assert [one.sample_id for one in mesh.ledger.feedback] == ["s-1", "s-2"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.stub.RecordFeedback(pb.RecordFeedbackRequest(feedback=[pb.SampleFeedback()]))
    fields = {violation.field for violation in error_from_rpc(caught.value).violations}
    assert fields == {"request_id", "feedback[0].sample_id", "feedback[0]"}


async def test_a_priced_call_reserves_first_and_is_refused_without_room(mesh: Any) -> None:
    events = await mesh.generate(mesh.ask(model="gpt-4o", max_tokens=100))
    (wish,) = mesh.ledger.reserved
    assert wish.max_completion_tokens == 100
    (leg, hop) = mesh.cloud.inner.legs[0]
    assert hop.reservation_id == f"r-{wish.attempt_id}"
    assert leg.routing.model == "gpt-4o"
    assert events[-1].finished.cost.nanos == 77
    assert mesh.ledger.entries == {}  # the proxy's to record

    mesh.ledger.refusal = ledger_pb.ReservationRefusal(
        reason="BUDGET_EXCEEDED", budget_name="premium", needed_nanos=9, left_nanos=3
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask(model="gpt-4o", text="another prompt", max_tokens=100))
    error = error_from_rpc(caught.value)
    assert isinstance(error, BudgetExceeded)
    assert (error.needed_nanos, error.left_nanos) == (9, 3)
    assert len(mesh.cloud.inner.legs) == 1


async def test_where_no_budget_has_room_another_candidate_answers(mesh: Any) -> None:
    mesh.ledger.refusal = ledger_pb.ReservationRefusal(reason="BUDGET_FROZEN", budget_name="premium")
    request = mesh.ask(model="gpt-4o", allow_substitution=True, max_tokens=10)
    request.routing.fallback.append("smollm2-135m")
    provenance = (await mesh.generate(request))[-1].finished.provenance
    assert (provenance.model, provenance.substituted_for) == ("smollm2-135m", "gpt-4o")
    assert [hop.reason for hop in provenance.hops] == ["BUDGET_FROZEN"]


async def test_a_reservation_under_which_nothing_happened_is_given_back(mesh: Any) -> None:
    from orchestra_errors import Unavailable

    mesh.cloud.inner.script = lambda *_: [Unavailable("openai")]
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.generate(mesh.ask(model="gpt-4o", max_tokens=100))
    async with asyncio.timeout(5), mesh.ledger.came:
        await mesh.ledger.came.wait_for(lambda: mesh.ledger.released)


async def test_without_the_ledger_no_priced_call_leaves(mesh: Any) -> None:
    await mesh.stop("ledger")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.generate(mesh.ask(model="gpt-4o", max_tokens=100))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert mesh.cloud.inner.legs == []


async def test_local_only_never_leaves(mesh: Any) -> None:
    await mesh.stop("node_a")
    request = mesh.ask(local_only=True, allow_substitution=True)
    request.routing.fallback.append("gpt-4o")
    with pytest.raises(grpc.aio.AioRpcError):
        await mesh.generate(request)
    assert mesh.cloud.inner.legs == []


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Evaluate", pb.EvaluateRequest()),
        ("SubmitBatchJob", pb.SubmitBatchJobRequest()),
        ("GetBatchJob", pb.GetBatchJobRequest()),
        ("FetchBatchResults", pb.FetchBatchResultsRequest()),
        ("CancelBatchJob", pb.CancelBatchJobRequest()),
    ],
)
async def test_what_is_not_there_yet_says_so(mesh: Any, method: str, request_: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(mesh.stub, method)(request_)
    assert error_from_rpc(caught.value).reason == "NOT_YET"
