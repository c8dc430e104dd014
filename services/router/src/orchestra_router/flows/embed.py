"""Vectors of texts, by one model, in the order of the texts."""

from __future__ import annotations

import uuid

from orchestra.inference.v1 import inference_service_pb2 as inference_pb
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import InvalidRequest, NoCapacity, NotFound, OrchestraError, Unavailable, Violations

from ..domain.embedders import embedders
from ..domain.targets import Target
from ..ports import EmbedLine, Names, Unknown
from .admission import Admission
from .intake import nearest_hint
from .journey import Guide, as_told

MOST_TEXTS = 2048


class EmbedFlow:
    """Asks the best worker; another one of the same model when it fails, since nothing is lost by asking
    again."""

    def __init__(
        self, names: Names, guide: Guide, line: EmbedLine, admission: Admission, max_text_bytes: int
    ) -> None:
        self._names = names
        self._guide = guide
        self._line = line
        self._admission = admission
        self._max_text_bytes = max_text_bytes

    async def __call__(self, request: pb.EmbedRequest) -> pb.EmbedResponse:
        """Raises InvalidRequest with every wrong field, NotFound, what `embedders` raises, and the last
        worker's failure when none is left."""
        with self._admission.hold():
            self._check(request)
            model, variant = self._named(request.model)
            request_id = str(uuid.uuid4())
            tried: set[str] = set()
            failure: OrchestraError | None = None
            while len(tried) < self._guide.max_attempts:
                target = self._next(model, variant, request.local_only, tried, failure)
                # another model's vectors would mean something else
                model = target.model
                tried.add(target.key)
                try:
                    answer = await self._ask(target, request, f"{request_id}/0/{len(tried)}", request_id)
                except OrchestraError as error:
                    if not error.may_move_on:
                        raise
                    failure = as_told(error, target)
                    continue
                return pb.EmbedResponse(
                    embeddings=answer.embeddings,
                    model=target.model,
                    revision=answer.revision,
                    provider=target.provider,
                )
            assert failure is not None
            raise failure

    def _check(self, request: pb.EmbedRequest) -> None:
        found = Violations()
        count = len(request.texts)
        found.require(1 <= count <= MOST_TEXTS, "texts", f"must be 1 to {MOST_TEXTS}, are {count}")
        most = self._max_text_bytes
        for at, text in enumerate(request.texts):
            size = len(text.encode())
            found.require(1 <= size <= most, f"texts[{at}]", f"must have 1 to {most} bytes, has {size}")
        found.raise_if_any()

    def _named(self, name: str) -> tuple[str, str]:
        """Model and variant; both empty when none was named."""
        if not name:
            return "", ""
        named = self._names.model(name)
        if isinstance(named, Unknown):
            raise NotFound("model", name, named.nearest)
        if len(named.models) != 1:
            raise InvalidRequest.of("model", f"{name} is not a single model{nearest_hint(named.models)}")
        return named.models[0], named.variant

    def _next(
        self, model: str, variant: str, local_only: bool, tried: set[str], failure: OrchestraError | None
    ) -> Target:
        """By what is known now. Raises `failure` when every target has failed."""
        guide = self._guide
        seen, load = guide.snapshots.current(), guide.traffic.load()
        try:
            able = embedders(model, variant, local_only, seen, load, guide.clock())
        except OrchestraError:
            if failure is None:
                raise
            able = ()
        left = [target for target in able if target.key not in tried]
        if not left:
            raise failure or Unavailable(f"another worker of {model}")
        return left[0]

    async def _ask(
        self, target: Target, request: pb.EmbedRequest, attempt_id: str, request_id: str
    ) -> inference_pb.EmbedResponse:
        guide = self._guide
        began = guide.clock()
        guide.traffic.begin(target, 1)
        tokens: int | None = None
        reason = "CANCELLED"
        try:
            answer = await self._line.embed(target, request.texts)
            given, asked = len(answer.embeddings), len(request.texts)
            if given != asked:
                raise Unavailable(f"{target.model} (it gave {given} vectors for {asked} texts)")
        except OrchestraError as error:
            reason = error.reason
            if error.may_move_on and not isinstance(error, NoCapacity):
                guide.traffic.failed(target, guide.clock())
            raise
        else:
            reason, tokens = "", sum(one.tokens for one in answer.embeddings)
            guide.traffic.worked(target)
            return answer
        finally:
            guide.traffic.end(target, 1)
            guide.books.embedded(
                target, request_id, attempt_id, tokens=tokens, seconds=guide.clock() - began, reason=reason
            )
