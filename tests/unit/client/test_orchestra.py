"""Streams, collected samples, failures, cancellation: against a real server."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestra.generation.v1 import event_pb2
from orchestra_client import (
    Ask,
    Failed,
    Finished,
    FinishReason,
    Heartbeat,
    Orchestra,
    Started,
    TextDelta,
)
from orchestra_errors import DataLoss, NoCapacity, NotFound, Unavailable, WorkerLost

from .conftest import Running, failed, finished, started, text


async def test_events_come_typed_and_in_order(mesh: Running) -> None:
    async with (
        Orchestra(mesh.address) as asked,
        asked.generate("def f(", model="smollm2-135m", max_tokens=2) as answer,
    ):
        events = [event async for event in answer]
    assert [type(event) for event in events] == [Started, TextDelta, TextDelta, Finished]
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.sample.text == "def é():" and last.sample.finish_reason is FinishReason.MAX_TOKENS
    assert last.sample.cost_nanos == 2_000 and last.sample.whole
    assert last.sample.trace_id == answer.trace_id and len(answer.trace_id) == 32
    sent = mesh.router.requests[0].generation
    assert (sent.text, sent.routing.model, sent.sampling.max_tokens) == ("def f(", "smollm2-135m", 2)


async def test_collect_keeps_the_order_of_indexes(mesh: Running) -> None:
    async def backwards(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        for index in (2, 0, 1):
            yield started(index)
            yield text(f"t{index}", index, token_ids=[index, 9], logprobs=[-0.5, -1.0])
            yield finished(index)

    mesh.router.script = backwards
    async with Orchestra(mesh.address) as asked:
        samples = await asked.generate(Ask(prompt="x", n=3)).collect()
    assert [sample.text for sample in samples] == ["t0", "t1", "t2"]
    assert samples[1].token_ids == (1, 9) and samples[1].logprobs == (-0.5, -1.0)


async def test_one_failed_sample_leaves_the_others(mesh: Running) -> None:
    async def mixed(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        yield started(0)
        yield text("half", 0)
        yield failed(WorkerLost("smollm2-135m", "it was killed"), 0)
        yield started(1)
        yield finished(1)

    mesh.router.script = mixed
    async with Orchestra(mesh.address) as asked:
        answer = asked.generate("x", n=2)
        assert [sample.index async for sample in answer.samples()] == [1]
        (failure,) = answer.failures
        assert isinstance(failure, Failed) and isinstance(failure.error, WorkerLost)
        assert failure.text == "half" and failure.provenance.model == "smollm2-135m"
        with pytest.raises(WorkerLost):
            await asked.generate("x", n=2).collect()


async def test_a_second_start_voids_what_came_before(mesh: Running) -> None:
    async def again(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        beat = event_pb2.Heartbeat(activity=event_pb2.ACTIVITY_QUEUED, ahead=2)
        yield event_pb2.GenerationEvent(heartbeat=beat)
        yield started()
        yield text("void")
        yield started()
        yield text("kept")
        yield finished()

    mesh.router.script = again
    async with Orchestra(mesh.address) as asked:
        events = [event async for event in asked.generate("x", allow_restart=True)]
    assert events[0] == Heartbeat(0, "queued", 0.0, ahead=2)
    assert [event.again for event in events if isinstance(event, Started)] == [False, True]
    assert isinstance(events[-1], Finished) and events[-1].sample.text == "kept"


@pytest.mark.parametrize("torn", [True, False])
async def test_a_stream_that_ends_too_early_is_no_answer(mesh: Running, torn: bool) -> None:
    async def short(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        if torn:
            yield started()

    mesh.router.script = short
    async with Orchestra(mesh.address) as asked:
        with pytest.raises(DataLoss):
            await asked.generate("x").collect()


async def test_errors_are_kinds_and_name_the_trace(mesh: Running) -> None:
    async def full(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        raise NoCapacity("smollm2-135m", 2.0)
        yield started()

    mesh.router.script = full
    async with Orchestra(mesh.address) as asked:
        with pytest.raises(NoCapacity) as caught:
            await asked.generate("x").collect()
        assert caught.value.retry_after == 2.0
        assert any(note.startswith("trace ") for note in caught.value.__notes__)
        with pytest.raises(NotFound) as missing:
            await asked.explain("x", model="smolm")
        assert missing.value.metadata["nearest"] == "smollm2-135m"


async def test_nobody_there() -> None:
    async with Orchestra("127.0.0.1:1") as asked:
        with pytest.raises(Unavailable):
            await asked.generate("x").collect()


@pytest.mark.parametrize("how", ["aclose", "block", "cancel"])
async def test_leaving_ends_the_work_at_once(mesh: Running, how: str) -> None:
    async def endless(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        yield started()
        while True:
            yield text("more ")
            await asyncio.sleep(0.01)

    mesh.router.script = endless
    async with Orchestra(mesh.address) as asked:
        answer = asked.generate("x")
        if how == "aclose":
            await anext(answer)
            await answer.aclose()
        elif how == "block":
            async with answer:
                await anext(answer)
        else:
            first = asyncio.Event()

            async def read() -> None:
                async for _ in answer:
                    first.set()

            reading = asyncio.create_task(read())
            await first.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert await asyncio.to_thread(mesh.router.released.wait, 5)
        with pytest.raises(StopAsyncIteration):
            await anext(answer)


async def test_diverse_ends_with_its_summary(mesh: Running) -> None:
    async with (
        Orchestra(mesh.address) as asked,
        asked.diverse("x", plan={"a": 2, "b": 1}, select=1) as answer,
    ):
        samples = [sample async for sample in answer.samples()]
    assert [sample.model for sample in samples] == ["a", "a", "b"]
    assert answer.summary is not None and answer.summary.finished == 3
    sent = mesh.router.requests[0]
    assert sent.generation.sampling.n == 3 and list(sent.generation.routing.candidates) == ["a", "b"]
    assert sent.select == 1


async def test_models_reads_every_page(mesh: Running) -> None:
    async with Orchestra(mesh.address) as asked:
        assert [model.name for model in await asked.models()] == ["smollm2-135m", "gemma3-270m"]


async def test_what_is_pickled_connects_anew(mesh: Running) -> None:
    async with Orchestra(mesh.address) as asked:
        (sample,) = await asked.generate("x").collect()
        async with pickle.loads(pickle.dumps(asked)) as twin:
            assert twin.settings == asked.settings
            assert await twin.models()
        assert pickle.loads(pickle.dumps(sample)) == sample


async def test_a_row_has_numbers_and_names_of_the_contract(mesh: Running) -> None:
    async with Orchestra(mesh.address) as asked:
        (sample,) = await asked.generate("x").collect()
    row = sample.row(task_id="t")
    assert next(iter(row)) == "task_id"
    assert row["finish_reason"] == "FINISH_REASON_MAX_TOKENS"
    assert row["cost"] == {"state": "COST_STATE_ESTIMATED", "nanos": 2_000}
    assert row["usage"] == {"prompt_tokens": 3, "completion_tokens": 2}
    assert row["provenance"]["sample_id"] == row["sample_id"] == "s-0"
