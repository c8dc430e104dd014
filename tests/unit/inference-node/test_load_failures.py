"""What a worker says when it cannot load reaches whoever asked, as the kind that it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from orchestra_errors import FailedPrecondition, InsufficientMemory, InvalidRequest, OrchestraError
from orchestra_inference_node.domain.resident import Placed, Resident, Wanted
from orchestra_inference_node.flows.changes import Changes
from orchestra_inference_node.flows.residency import Residency
from orchestra_inference_node.ports import Weights


class Process:
    """A worker that reports what it is told to and ends."""

    def __init__(self, *reports: dict[str, Any]) -> None:
        self._reports = reports

    async def reports(self) -> AsyncIterator[dict[str, Any]]:
        for report in self._reports:
            yield report

    def memory_bytes(self) -> int | None:
        return None

    def drain(self, seconds: float) -> None: ...

    def kill(self) -> None: ...

    async def ended(self) -> str:
        return "its process ended with exit code 1"


class Starter:
    def __init__(self, process: Process) -> None:
        self._process = process

    async def start(self, resident: Resident) -> Process:
        return self._process


class Whole:
    async def check(self, wanted: Wanted, engine: str, moved: Callable[[int, int], None]) -> Weights:
        return Weights("sha256:0", 10, "Q4_1")


async def load(*reports: dict[str, Any]) -> None:
    residency = Residency(
        node_id="n",
        starter=Starter(Process(*reports)),
        weights=Whole(),
        place=lambda wanted: Placed("llamacpp", ("cpu0",), ""),
        changes=Changes(),
        load_timeout_s=5,
    )
    async with asyncio.timeout(5):
        async for _ in residency.load(Wanted("m", "/m.gguf", "auto")):
            pass


def report_of(error: OrchestraError) -> dict[str, Any]:
    fields = [[one.field, one.description] for one in error.violations]
    kind = {"reason": error.reason, "metadata": error.metadata, "fields": fields, "code": error.status_code}
    return {"at": "failed", "why": error.message, "kind": kind}


async def test_a_kind_stays_the_kind_it_is() -> None:
    with pytest.raises(InsufficientMemory) as told:
        await load({"at": "loading"}, report_of(InsufficientMemory("m", "cpu0", 900, 800)))
    assert (told.value.metadata["needed_bytes"], told.value.metadata["free_bytes"]) == ("900", "800")
    with pytest.raises(InvalidRequest) as wrong:
        await load(report_of(InvalidRequest.of("spec.engine", "is not installed here")))
    assert wrong.value.violations[0].field == "spec.engine"


async def test_a_text_and_a_silent_end_are_failed_preconditions_that_say_why() -> None:
    with pytest.raises(FailedPrecondition, match="no such tensor"):
        await load({"at": "failed", "why": "no such tensor"})
    with pytest.raises(FailedPrecondition, match="exit code 1"):
        await load({"at": "loading"})


async def test_how_far_a_load_is_counts_from_where_the_engine_began() -> None:
    """The interpreter and its modules are no part of the model."""
    memory = [60]
    seen: list[int | None] = []
    go_on = asyncio.Event()

    class Grows(Process):
        async def reports(self) -> AsyncIterator[dict[str, Any]]:
            yield {"at": "loading"}
            memory[0] = 100
            yield {"at": "moved", "bytes_done": None, "bytes_total": 40}
            await go_on.wait()

        def memory_bytes(self) -> int | None:
            return memory[0]

    residency = Residency(
        node_id="n",
        starter=Starter(Grows()),
        weights=Whole(),
        place=lambda wanted: Placed("llamacpp", ("cpu0",), ""),
        changes=Changes(),
        load_timeout_s=30,
    )
    async with asyncio.timeout(20):
        with pytest.raises(FailedPrecondition):
            async for resident in residency.load(Wanted("m", "/m.gguf", "auto")):
                done = resident.bytes_done
                if resident.bytes_total == 40 and done not in seen:
                    seen.append(done)
                    memory[0] += 25
                    if done == 40:
                        go_on.set()
    await residency.close(0)
    assert seen == [0, 25, 40]
