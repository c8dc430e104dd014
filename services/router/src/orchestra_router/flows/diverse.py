"""n samples of one prompt over several models, then which of them differ."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import NotYet, Violations
from orchestra_rpc import Background, current_deadline

from ..ports import Event, Roads
from .admission import Admission
from .diversity import MeasureFlow, measured_or_why_not
from .item import Item
from .journey import Guide, Journey
from .outbox import Outbox
from .plan import Planning
from .pricing import total
from .summary import Gathering
from .travelling import set_out


def packed(message: pb.GenerateDiverseResponse, label: str, event: Event) -> Event:
    """Put a copy of the event into the message."""
    added = message.events.add()
    added.CopyFrom(event)
    return added


class DiverseFlow:
    """Each model's share is one item on a road that all shares use."""

    def __init__(
        self, planning: Planning, roads: Roads, guide: Guide, admission: Admission, measuring: MeasureFlow
    ) -> None:
        self._planning = planning
        self._roads = roads
        self._guide = guide
        self._admission = admission
        self._measuring = measuring

    async def __call__(
        self, request: pb.GenerateDiverseRequest
    ) -> AsyncGenerator[pb.GenerateDiverseResponse, None]:
        with self._admission.hold():
            items = self._planned(request)
            gathering = Gathering()
            outbox = Outbox(pb.GenerateDiverseResponse, packed)

            def emit(event: Event) -> None:
                gathering.take(event)
                outbox.put("", event)

            async with self._roads.shared(outbox.room) as road, Background() as tasks:
                left = _Left(len(items), outbox)
                for item in items:
                    set_out(
                        Journey(item, road, emit, self._guide),
                        item,
                        tasks,
                        current_deadline(),
                        left.one_ended,
                    )
                async with aclosing(outbox.packets()) as packets:
                    async for packet in packets:
                        yield packet
            yield pb.GenerateDiverseResponse(summary=await self._summary(request, gathering))

    def _planned(self, request: pb.GenerateDiverseRequest) -> list[Item]:
        if request.evaluators:
            raise NotYet("evaluators within GenerateDiverse")
        found = Violations()
        if request.HasField("select"):
            found.require(request.select >= 1, "select", f"must be at least 1, is {request.select}")
        self._measuring.check_measures(request.measures, found)
        return self._planning.items(request, found)

    async def _summary(self, request: pb.GenerateDiverseRequest, gathering: Gathering) -> pb.DiverseSummary:
        summary = pb.DiverseSummary(finished=len(gathering.finished), failed=len(gathering.failed))
        summary.cost.CopyFrom(total(gathering.costs()))
        samples = gathering.samples()
        if samples:
            wanted = request.select if request.HasField("select") else len(samples)
            measured = await measured_or_why_not(
                self._measuring, samples, request.measures, select=wanted, indexes=gathering.order
            )
            summary.diversity.CopyFrom(measured.report)
            summary.selected.extend(measured.selected)
        return summary


class _Left:
    """Closes the outbox once every share has ended."""

    def __init__(self, count: int, outbox: Outbox[pb.GenerateDiverseResponse]) -> None:
        self._count = count
        self._outbox = outbox

    def one_ended(self, mistake: BaseException | None) -> None:
        self._count -= 1
        if mistake is not None or self._count == 0:
            self._outbox.close(mistake)
