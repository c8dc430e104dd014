"""Calls that reach the daemon and are for one of its workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from orchestra.generation.v1 import request_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra_errors import (
    InvalidRequest,
    OrchestraError,
    Unavailable,
    WorkerLost,
    WrongInstance,
)
from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.rpc.events import UNFINISHED_KEY
from orchestra_rpc import call_stream, call_unary

Stubs: TypeAlias = "Callable[[str, str], pb_grpc.InferenceServiceAsyncStub]"
Find = Callable[[str], Resident]
T = TypeVar("T")
_RETRY_S = 1.0
# how orchestra_rpc names a peer that ended a call without a word of its own
_NO_ANSWER = "a peer ("


class Forwarding:
    """Finds the worker of a call and passes it on as it came."""

    def __init__(self, instance_id: str, find: Find, stubs: Stubs) -> None:
        self._instance_id = instance_id
        self._find = find
        self._stubs = stubs

    def resident_for(
        self, generation: request_pb2.GenerationRequest, hop: request_pb2.HopContext
    ) -> Resident:
        """Raises InvalidRequest without a model's name, NotFound, WrongInstance, or Unavailable while it
        starts."""
        return self._chosen(generation.routing.model, "generation.routing.model", hop.expected_instance_id)

    def _chosen(self, model: str, field: str, expected: str) -> Resident:
        if not model:
            raise InvalidRequest.of(field, "must be set")
        resident = self._serving(model)
        if expected and expected not in (self._instance_id, resident.instance_id):
            raise WrongInstance(expected, resident.instance_id)
        return resident

    def _serving(self, model: str) -> Resident:
        resident = self._find(model)
        if not resident.usable:
            raise Unavailable(
                f"model {model} ({resident.state.value}{': ' if resident.reason else ''}{resident.reason})",
                retry_after=_RETRY_S,
            )
        return resident

    async def generate(
        self, request: pb.GenerateRequest, unfinished: Callable[[Sequence[tuple[str, str | bytes]]], None]
    ) -> AsyncIterator[pb.GenerateResponse]:
        """The worker's events, unchanged; `unfinished` is given what a stream that breaks had consumed."""
        resident = self.resident_for(request.generation, request.hop)
        passed = pb.GenerateRequest(generation=request.generation, hop=request.hop)
        passed.hop.expected_instance_id = resident.instance_id
        call = self._stub(resident).Generate(passed)
        try:
            async with call_stream(call) as events:
                async for event in events:
                    yield event
        except OrchestraError as error:
            trailers = await call.trailing_metadata()
            unfinished([(key, value) for key, value in trailers or () if key == UNFINISHED_KEY])
            raise lost_or(error, resident) from error

    async def count_tokens(self, request: pb.CountTokensRequest) -> pb.CountTokensResponse:
        resident = self._chosen(request.model, "model", "")
        return await self._unary(resident, self._stub(resident).CountTokens(request))

    async def embed(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        resident = self._chosen(request.model, "model", request.expected_instance_id)
        passed = pb.EmbedRequest(
            model=request.model, texts=request.texts, expected_instance_id=resident.instance_id
        )
        return await self._unary(resident, self._stub(resident).Embed(passed))

    async def score(self, request: pb.ScoreRequest) -> pb.ScoreResponse:
        resident = self._chosen(request.model, "model", request.expected_instance_id)
        passed = pb.ScoreRequest()
        passed.CopyFrom(request)
        passed.expected_instance_id = resident.instance_id
        return await self._unary(resident, self._stub(resident).Score(passed))

    def _stub(self, resident: Resident) -> pb_grpc.InferenceServiceAsyncStub:
        return self._stubs(resident.address, resident.instance_id)

    async def _unary(self, resident: Resident, call: Awaitable[T]) -> T:
        try:
            return await call_unary(call)
        except OrchestraError as error:
            raise lost_or(error, resident) from error


def lost_or(error: OrchestraError, resident: Resident) -> OrchestraError:
    """A broken connection to a worker is a lost worker; what it said itself stays as it is."""
    if isinstance(error, Unavailable) and error.metadata.get("what", "").startswith(_NO_ANSWER):
        wait = max(_RETRY_S, resident.restarts.wait_s)
        return WorkerLost(resident.wanted.model, "its process ended", retry_after=wait)
    return error
