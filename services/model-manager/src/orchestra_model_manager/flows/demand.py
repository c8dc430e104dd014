"""What routers say that callers ask for; kept for the planner, the newest report of each router alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from orchestra.models.v1 import model_manager_service_pb2 as pb
from orchestra_model_manager.ports import Clock

MOST_ROUTERS = 256
STALE_S = 60.0


class Demand:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reports: OrderedDict[str, tuple[float, pb.ReportDemandRequest]] = OrderedDict()

    def report(self, request: pb.ReportDemandRequest) -> None:
        self._reports[request.router_instance_id] = (self._clock(), request)
        self._reports.move_to_end(request.router_instance_id)
        while len(self._reports) > MOST_ROUTERS:
            self._reports.popitem(last=False)

    @property
    def queued(self) -> Mapping[str, int]:
        """Requests that wait, by model, over all routers that reported within the last minute."""
        now = self._clock()
        waiting: dict[str, int] = {}
        for at, request in self._reports.values():
            if now - at <= STALE_S:
                for one in request.demands:
                    waiting[one.model] = waiting.get(one.model, 0) + one.queued
        return waiting
