"""Channels to the workers of this host."""

from __future__ import annotations

from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra_rpc import MeshChannel, open_channel
from orchestra_telemetry import Telemetry


class WorkerChannels:
    """One channel for each address, kept until the end: the range of ports is small."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._channels: dict[str, MeshChannel] = {}

    def stub(self, address: str) -> pb_grpc.InferenceServiceAsyncStub:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = open_channel(address, telemetry=self._telemetry)
        stub: pb_grpc.InferenceServiceAsyncStub = pb_grpc.InferenceServiceStub(channel)
        return stub

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
