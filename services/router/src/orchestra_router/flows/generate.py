"""One prompt, answered by the model chosen."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from orchestra.generation.v1 import request_pb2

from ..ports import Event, Roads
from .admission import Admission
from .intake import Intake
from .journey import Guide, Journey


class GenerateFlow:
    """Checks, then forwards events as they come."""

    def __init__(self, intake: Intake, roads: Roads, guide: Guide, admission: Admission) -> None:
        self._intake = intake
        self._roads = roads
        self._guide = guide
        self._admission = admission

    async def __call__(self, generation: request_pb2.GenerationRequest) -> AsyncGenerator[Event, None]:
        with self._admission.hold():
            ready: list[Event] = []
            item = self._intake.item(generation)
            journey = Journey(item, self._roads.alone(), ready.append, self._guide)
            async with aclosing(journey.run()) as pulses:
                async for _ in pulses:
                    for event in ready:
                        yield event
                    ready.clear()
