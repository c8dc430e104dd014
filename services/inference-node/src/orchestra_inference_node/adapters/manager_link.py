"""The node's standing report to model-manager."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import structlog

from orchestra.inference.v1.node_pb2 import Node
from orchestra.models.v1 import model_manager_service_pb2 as pb
from orchestra.models.v1 import model_manager_service_pb2_grpc as pb_grpc
from orchestra_errors import OrchestraError
from orchestra_inference_node.ports import ChangeSignal
from orchestra_rpc import call_stream, open_channel
from orchestra_telemetry import Telemetry

_FIRST_S, _LONGEST_S = 0.2, 5.0
# slots come and go by the token; a manager needs no more than this
_AT_MOST_EVERY_S = 0.1
_UNTIL_A_LEASE_S = 5.0
log = structlog.get_logger()


class ManagerLink:
    """Reports for as long as it runs; a manager that is not there is tried again for ever."""

    def __init__(
        self, address: str, telemetry: Telemetry, changes: ChangeSignal, node: Callable[[], Node]
    ) -> None:
        self._address = address
        self._telemetry = telemetry
        self._changes = changes
        self._node = node
        self._lease_s = _UNTIL_A_LEASE_S

    async def run(self) -> None:
        """Never returns; cancel it."""
        wait, told = _FIRST_S, False
        async with open_channel(self._address, telemetry=self._telemetry) as channel:
            stub: pb_grpc.ModelManagerServiceAsyncStub = pb_grpc.ModelManagerServiceStub(channel)
            while True:
                try:
                    async with call_stream(stub.RegisterNode(self._reports())) as leases:
                        async for answer in leases:
                            if not told:
                                log.info("registered", manager=self._address, lease=answer.lease_id)
                            told, wait = True, _FIRST_S
                            self._lease_s = answer.lease.ToTimedelta().total_seconds() or _UNTIL_A_LEASE_S
                    because = "it ended the report"
                except OrchestraError as error:
                    because = error.message
                log.log(30 if told else 10, "not registered", manager=self._address, because=because)
                told = False
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(wait * 2, _LONGEST_S)

    async def _reports(self) -> AsyncIterator[pb.RegisterNodeRequest]:
        while True:
            seen = self._changes.version
            yield pb.RegisterNodeRequest(node=self._node())
            await asyncio.sleep(_AT_MOST_EVERY_S)
            await self._changes.after(seen, self._lease_s / 3)
