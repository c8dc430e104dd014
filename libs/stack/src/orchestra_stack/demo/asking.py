"""Asking the router one task at a time, several at once, and keeping each sample as a row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.generation.v1 import event_pb2, request_pb2, routing_pb2, sampling_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1 import router_service_pb2_grpc as pb_grpc
from orchestra_errors import OrchestraError
from orchestra_rpc import call_stream, open_channel, unpack_status
from orchestra_stack.tasks import STOP, Task

from .rows import plain
from .tally import Tally

# top_k first: sorting a vocabulary of 262,144 for top_p alone costs more than the model itself
TEMPERATURE, TOP_K, TOP_P = 0.8, 40, 0.95
_CALL_S = 240.0


@dataclass(frozen=True, slots=True)
class Questions:
    """`samples` of each model for each task, `at_once` tasks in flight.

    All are one rollout: no stored draw is served to it twice.
    """

    tasks: Sequence[Task]
    models: Sequence[str]
    samples: int
    max_tokens: int
    run_id: str
    rollout_id: str
    at_once: int = 4

    def request(self, task: Task) -> pb.GenerateDiverseRequest:
        """The same for every run but for the ids: so that a later run finds the draws of this one."""
        generation = request_pb2.GenerationRequest(
            text=task.prompt,
            sampling=sampling_pb2.Sampling(
                temperature=TEMPERATURE,
                top_k=TOP_K,
                top_p=TOP_P,
                max_tokens=self.max_tokens,
                stop=STOP,
                n=self.samples * len(self.models),
            ),
            routing=routing_pb2.Routing(candidates=self.models, request_type="code_generation"),
            rollout_id=self.rollout_id,
            run_id=self.run_id,
            labels={"task": task.task_id},
        )
        plan = [pb.ModelShare(model=model, samples=self.samples) for model in self.models]
        return pb.GenerateDiverseRequest(generation=generation, plan=plan)


@dataclass(slots=True)
class _Sample:
    text: list[str] = field(default_factory=list)


class Asking:
    """Runs the questions. Rows go to `keep` as samples finish; `summaries` holds each task's summary."""

    def __init__(
        self,
        questions: Questions,
        tally: Tally,
        keep: Callable[[dict[str, Any]], None],
        changed: Callable[[], None],
    ) -> None:
        self._questions = questions
        self._tally = tally
        self._keep = keep
        self._changed = changed
        self.summaries: dict[str, dict[str, Any]] = {}

    async def run(self, router: str) -> None:
        """Until every task has ended, well or not."""
        slots = asyncio.Semaphore(self._questions.at_once)
        channel = open_channel(router)
        try:
            stub = pb_grpc.RouterServiceStub(channel)
            async with asyncio.TaskGroup() as group:
                for task in self._questions.tasks:
                    group.create_task(self._one(stub, task, slots))
        finally:
            await channel.close()

    async def _one(self, stub: Any, task: Task, slots: asyncio.Semaphore) -> None:
        async with slots:
            samples: dict[int, _Sample] = {}
            call = stub.GenerateDiverse(self._questions.request(task), timeout=_CALL_S)
            try:
                async with call_stream(call) as messages:
                    async for message in messages:
                        for event in message.events:
                            self._event(task, samples, event)
                        if message.HasField("summary"):
                            self.summaries[task.task_id] = plain(message.summary)
            except OrchestraError as error:
                self._tally.failed(f"task {task.task_id} failed: {error}")
            self._tally.tasks_done += 1
            self._changed()

    def _event(self, task: Task, samples: dict[int, _Sample], event: event_pb2.GenerationEvent) -> None:
        sample = samples.setdefault(event.sample_index, _Sample())
        kind = event.WhichOneof("event")
        if kind == "started":
            sample.text.clear()
        elif kind == "text_delta":
            sample.text.append(event.text_delta.text)
            self._tally.piece(time.monotonic())
        elif kind == "finished":
            row = _row(task, event, "".join(sample.text))
            self._tally.row(row)
            self._keep(row)
        elif kind == "sample_failed":
            why = unpack_status(event.sample_failed.status)
            self._tally.failed(f"sample {event.sample_index} of task {task.task_id} failed: {why}")
        self._changed()


def _row(task: Task, event: event_pb2.GenerationEvent, text: str) -> dict[str, Any]:
    finished = event.finished
    provenance = plain(finished.provenance)
    return {
        "task_id": task.task_id,
        "prompt": task.prompt,
        "text": text,
        "model": finished.provenance.model,
        "sample_id": finished.provenance.sample_id,
        "sample_index": event.sample_index,
        "finish_reason": event_pb2.FinishReason.Name(finished.reason),
        "trace_id": finished.provenance.trace_id,
        "request_id": finished.provenance.request_id,
        "provenance": provenance,
        "usage": plain(finished.usage),
        "cost": plain(finished.cost),
        "timings": plain(finished.timings),
        "diversity": None,
    }
