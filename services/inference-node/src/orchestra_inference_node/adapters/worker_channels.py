"""Channels to the workers of this host."""

from __future__ import annotations

from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra_rpc import Background, MeshChannel, open_channel
from orchestra_telemetry import Telemetry

# gRPC shares connections, and their back-off, between channels to one address
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


class WorkerChannels:
    """One channel for each process: one to a dead worker's port would back off from its successor's."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._channels: dict[str, tuple[str, MeshChannel]] = {}
        self._closing = Background()

    def stub(self, address: str, instance_id: str) -> pb_grpc.InferenceServiceAsyncStub:
        """The process `instance_id` at `address`."""
        known, channel = self._channels.get(address, ("", None))
        if channel is None or known != instance_id:
            if channel is not None:
                self._closing.spawn(channel.close(), name="close channel")
            channel = open_channel(address, telemetry=self._telemetry, options=_OWN_CONNECTION)
            self._channels[address] = instance_id, channel
        stub: pb_grpc.InferenceServiceAsyncStub = pb_grpc.InferenceServiceStub(channel)
        return stub

    async def close(self) -> None:
        await self._closing.close()
        for _, channel in self._channels.values():
            await channel.close()
