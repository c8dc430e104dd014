"""A worker, asked over its own port as any caller asks it."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra_errors import DataLoss
from orchestra_inference_node.domain.measuring import Drawn
from orchestra_rpc import call_stream, call_unary, deadline_scope


class WorkerProbe:
    """One process; another one at its address refuses."""

    def __init__(
        self,
        stub: pb_grpc.InferenceServiceAsyncStub,
        model: str,
        instance_id: str,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._stub = stub
        self._model = model
        self._instance_id = instance_id
        self._clock = clock

    async def draw(self, prompt: str, tokens: int) -> Drawn:
        request = pb.GenerateRequest()
        request.generation.text = prompt
        request.generation.routing.model = self._model
        request.generation.sampling.max_tokens = tokens
        request.hop.expected_instance_id = self._instance_id
        begin, first = self._clock(), None
        with deadline_scope(None):
            # the end of the measuring cancels the call; told of it, the worker would refuse the last requests
            call = self._stub.Generate(request)
        async with call_stream(call) as answers:
            async for answer in answers:
                kind = answer.event.WhichOneof("event")
                if first is None and kind in ("text_delta", "finished"):
                    first = self._clock() - begin
                if first is not None and kind == "finished":
                    usage = answer.event.finished.usage
                    computed = None
                    if usage.HasField("prompt_tokens"):
                        computed = usage.prompt_tokens - usage.cached_prompt_tokens
                    return Drawn(usage.completion_tokens, first, computed)
        raise DataLoss("measured request", "its stream ended without an end")

    async def embed(self, text: str) -> None:
        request = pb.EmbedRequest(model=self._model, texts=[text], expected_instance_id=self._instance_id)
        await call_unary(self._stub.Embed(request))
