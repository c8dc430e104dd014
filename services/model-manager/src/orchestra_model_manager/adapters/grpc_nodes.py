"""Nodes over gRPC: one channel per address, kept."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from google.protobuf import duration_pb2

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra.inference.v1 import node_pb2
from orchestra_model_manager.ports import LoadOrder
from orchestra_rpc import MeshChannel, call_stream, call_unary, open_channel
from orchestra_telemetry import Telemetry

if TYPE_CHECKING:
    Stub = pb_grpc.InferenceServiceAsyncStub

UNLOAD_MARGIN_S = 30.0


class GrpcNodes:
    """`load_limit_s` bounds one load."""

    def __init__(self, telemetry: Telemetry, load_limit_s: float) -> None:
        self._telemetry = telemetry
        self._load_limit_s = load_limit_s
        self._channels: dict[str, MeshChannel] = {}

    async def load(self, address: str, order: LoadOrder) -> AsyncIterator[node_pb2.LoadProgress]:
        spec = pb.ModelSpec(
            model=order.model,
            path=order.path,
            expected_revision=order.expected_revision,
            engine=order.engine,
            device_ids=order.device_ids,
            context_tokens=order.context_tokens,
            slots=order.slots,
            quantization=order.quantization,
            chat=order.chat,
            engine_options=dict(order.options),
        )
        request = pb.LoadModelRequest(spec=spec, request_id=uuid.uuid4().hex)
        call = self._stub(address).LoadModel(request, timeout=self._load_limit_s)
        async with call_stream(call) as messages:
            async for message in messages:
                yield message.progress

    async def unload(self, address: str, model: str, drain_s: float) -> None:
        drain = duration_pb2.Duration()
        drain.FromMilliseconds(int(drain_s * 1000))
        request = pb.UnloadModelRequest(model=model, drain=drain, request_id=uuid.uuid4().hex)
        await call_unary(self._stub(address).UnloadModel(request, timeout=drain_s + UNLOAD_MARGIN_S))

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    def _stub(self, address: str) -> Stub:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = open_channel(address, telemetry=self._telemetry)
        return pb_grpc.InferenceServiceStub(channel)
