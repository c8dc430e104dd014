"""Targets that fail at random: whatever happens, each token once, in order, and one end for each sample."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from orchestra.generation.v1 import event_pb2, request_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import DataLoss, Draining, NoCapacity, WorkerLost, WrongInstance

WORDS = ["w0 ", "w1 ", "w2 "]
WHOLE = ["started", "heartbeat", *WORDS, "finish"]
BOTH = {"model": "", "candidates": ["smollm2-135m", "gemma3-270m"]}


def failing(random_: random.Random) -> Any:
    """Half of the samples fail, each at a point and in a way of its own."""

    def script(*_: Any) -> Sequence[Any]:
        if random_.random() < 0.5:
            return WHOLE
        at = random_.randrange(len(WHOLE))
        ways = [
            WorkerLost("it", "killed"),
            NoCapacity("it", 0.01),
            WrongInstance("a", "b"),
            DataLoss("it", "bad"),
        ]
        return [*WHOLE[:at], random_.choice([*ways, "end", Draining("it")])]

    return script


def check(events: Sequence[event_pb2.GenerationEvent], indexes: range, restart: bool) -> None:
    by_index: dict[int, list[event_pb2.GenerationEvent]] = defaultdict(list)
    for event in events:
        by_index[event.sample_index].append(event)
    assert set(by_index) <= set(indexes)
    for of_index in by_index.values():
        kinds = [event.WhichOneof("event") for event in of_index]
        ends = [kind for kind in kinds if kind in ("finished", "sample_failed")]
        assert len(ends) <= 1 and (not ends or kinds[-1] == ends[0])
        text = ""
        for event in of_index:
            if event.HasField("started"):
                assert restart or not text
                text = ""
            text += event.text_delta.text
        assert "".join(WORDS).startswith(text)
        if kinds[-1] == "finished":
            assert text == "".join(WORDS)
            assert "started" in kinds


@pytest.mark.parametrize("seed", range(3))
async def test_lone_requests(mesh: Any, seed: int) -> None:
    random_ = random.Random(seed)
    for node in (mesh.node_a, mesh.node_b):
        node.script = failing(random_)
    for number in range(40):
        n, restart = random_.choice([1, 1, 2, 4]), random_.random() < 0.3
        request = mesh.ask(text=f"p{number}", n=n, allow_restart=restart, mode=5, **BOTH)
        events: list[event_pb2.GenerationEvent] = []
        whole = True
        try:
            async for response in mesh.stub.Generate(pb.GenerateRequest(generation=request)):
                events.append(response.event)
        except grpc.aio.AioRpcError:
            whole = False
        check(events, range(n), restart)
        ended = {e.sample_index for e in events if e.HasField("finished") or e.HasField("sample_failed")}
        assert not whole or ended == set(range(n))
        # a status is for a lone sample, or for a request of which nothing was told
        assert whole or n == 1 or not events


@pytest.mark.parametrize("seed", range(3))
async def test_batches(mesh: Any, seed: int) -> None:
    random_ = random.Random(seed)
    for node in (mesh.node_a, mesh.node_b):
        node.script = failing(random_)
    sizes = {f"i{number}": random_.choice([1, 1, 2, 4]) for number in range(60)}
    items = [
        request_pb2.BatchItem(correlation_id=label, generation=mesh.ask(text=label, n=n, mode=5, **BOTH))
        for label, n in sizes.items()
    ]

    async def requests() -> AsyncIterator[pb.GenerateBatchRequest]:
        for start in range(0, len(items), 7):
            yield pb.GenerateBatchRequest(items=items[start : start + 7])

    found: dict[str, list[event_pb2.GenerationEvent]] = defaultdict(list)
    async for response in mesh.stub.GenerateBatch(requests()):
        for labelled in response.events:
            found[labelled.correlation_id].append(labelled.event)
    for label, n in sizes.items():
        check(found[label], range(n), restart=False)
        ended = {
            e.sample_index for e in found[label] if e.HasField("finished") or e.HasField("sample_failed")
        }
        assert ended == set(range(n))
