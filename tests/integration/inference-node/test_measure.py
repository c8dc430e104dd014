"""Measuring the real engine through the real daemon: figures that appear, stay, and are nobody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import DeadlineExceeded, FailedPrecondition, InvalidRequest, NotFound, Unavailable
from orchestra_rpc import call_stream, call_unary
from orchestra_testing import model_file

MODEL = "smollm2-135m"

# a long prompt is part of each measurement, and the machine may be busy
pytestmark = pytest.mark.timeout(300)


async def measure(
    client: Any, model: str = MODEL, timeout: float | None = None, **settings: int
) -> list[pb.MeasureModelResponse]:
    settings = {"tokens": 8, "rounds": 1} | settings
    request = pb.MeasureModelRequest(model=model, **settings)
    async with call_stream(client.stub.MeasureModel(request, timeout=timeout)) as moves:
        return [move async for move in moves]


def idle(node: node_pb2.Node) -> bool:
    (worker,) = node.workers
    return worker.slots_free == worker.slots_total and worker.queued == 0


async def test_figures_appear_and_stay_and_are_not_inherited(tmp_path: Path, start: Any) -> None:
    process, client = await start(tmp_path)
    await client.load(slots=4, context_tokens=256)
    assert not (await client.worker()).HasField("measured"), "nobody measured yet"
    moves = await measure(client)
    assert moves[0].activity and moves[0].done == 0
    last = moves[-1]
    assert not last.activity and last.done == last.total > 0
    figures = last.measured
    assert [one.parallel for one in figures.at] == [1, 4]
    assert all(one.per_second > 0 for one in figures.at)
    assert figures.first_token.ToTimedelta().total_seconds() > 0
    assert figures.prefill_tokens_per_second > 0
    assert figures.load.ToTimedelta().total_seconds() > 0
    worker = await client.worker()
    assert worker.measured == figures
    assert figures.memory_bytes == pytest.approx(worker.memory_bytes, rel=0.2)
    assert (figures.revision, figures.engine, figures.engine_build) == (
        worker.revision,
        worker.engine,
        worker.engine_build,
    )
    await client.until(idle)
    assert process.stop() == 0

    _, again = await start(tmp_path)
    await again.load(slots=4, context_tokens=256)
    assert (await again.worker()).measured == figures, "it outlasts the daemon"
    await call_unary(again.stub.UnloadModel(pb.UnloadModelRequest(model=MODEL)))
    await again.load(slots=2, context_tokens=256)
    assert not (await again.worker()).HasField("measured"), "another spec was not measured"


async def test_a_measurement_in_progress_refuses_another_and_a_cancel_leaves_nothing_running(
    own_node: Any,
) -> None:
    process, client = own_node
    await client.load(slots=2, context_tokens=256)
    running = asyncio.create_task(measure(client, tokens=1024, rounds=20))
    await client.until(lambda node: not idle(node))
    with pytest.raises(FailedPrecondition, match="being measured already"):
        await measure(client)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    node = await client.until(idle)
    assert not node.workers[0].HasField("measured"), "half a measurement is none"
    assert not (process.log.parent / "state" / "measured.json").exists()
    assert (await measure(client))[-1].measured.at, "and it can be measured anew"


async def test_a_deadline_ends_it_and_keeps_nothing(own_node: Any) -> None:
    _, client = own_node
    await client.load(slots=2, context_tokens=256)
    with pytest.raises(DeadlineExceeded):
        await measure(client, timeout=2.0, tokens=1024, rounds=20)
    node = await client.until(idle)
    assert not node.workers[0].HasField("measured")


async def test_what_cannot_be_measured_says_why(own_node: Any) -> None:
    _, client = own_node
    with pytest.raises(NotFound):
        await measure(client)
    with pytest.raises(InvalidRequest) as wrong:
        await measure(client, model="", tokens=7, rounds=21)
    assert {one.field for one in wrong.value.violations} == {"model", "tokens", "rounds"}
    loading = asyncio.create_task(client.load())
    await client.until(lambda node: bool(node.workers) and node.workers[0].state == node_pb2.STATE_STARTING)
    with pytest.raises(Unavailable):
        await measure(client)
    await loading


async def test_a_worker_that_dies_fails_its_measurement(own_node: Any) -> None:
    process, client = own_node
    await client.load(slots=2, context_tokens=256)
    running = asyncio.create_task(measure(client, tokens=1024, rounds=20))
    await client.until(lambda node: not idle(node))
    (worker,) = psutil.Process(process.process.pid).children()
    worker.kill()
    with pytest.raises(Unavailable):
        await running
    node = await client.until(lambda node: node.workers[0].restarts == 1 and bool(node.workers[0].address))
    assert not node.workers[0].HasField("measured")


async def test_an_encoder_is_measured_in_texts(own_node: Any) -> None:
    _, client = own_node
    await client.load(
        model="minilm-l6", path=str(model_file("minilm-l6")), chat=False, slots=1, context_tokens=256
    )
    figures = (await measure(client, model="minilm-l6"))[-1].measured
    assert [one.parallel for one in figures.at] == [1] and figures.at[0].per_second > 0
    assert not figures.HasField("first_token") and not figures.HasField("prefill_tokens_per_second")
    assert figures.memory_bytes > 0
