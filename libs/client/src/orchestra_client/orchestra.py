"""The mesh, asynchronously."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from .answer import Answer, DiverseAnswer
from .ask import Ask, Options, Prompt
from .batch import BatchAnswer, Item
from .settings import Settings

if TYPE_CHECKING:
    from orchestra.generation.v1.request_pb2 import GenerationRequest
    from orchestra.router.v1 import router_service_pb2 as pb

    from .connection import Connection, Root
    from .reading import Reader


class Orchestra:
    """A mesh behind its router.

    `async with Orchestra("127.0.0.1:50050") as mesh:` or with Settings; without either the environment is
    read (`ORCHESTRA_ROUTER`). Connects with the first call, and again by itself. Belongs to the event loop
    and the process that first used it; a pickled or forked copy connects anew. Every method raises kinds of
    `orchestra_errors`.
    """

    def __init__(self, address: str | None = None, *, settings: Settings | None = None) -> None:
        if address is not None and settings is not None:
            raise ValueError("either an address or settings")
        self.settings = settings or Settings.from_environment(address)
        self._connection: Connection | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (_again, (type(self), self.settings))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trail: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends every running call and sends the last spans."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.process == os.getpid():
            await connection.close()

    def generate(self, prompt: Prompt | Ask, **options: Unpack[Options]) -> Answer:
        """`n` samples of one prompt from one model.

        `async for event in mesh.generate("def f(", model="smollm2-135m", max_tokens=64)`, or
        `await mesh.generate(…, n=8).collect()`.
        """
        ask = _ask(prompt, options)

        def begin() -> tuple[Any, Root, Reader]:
            from orchestra.router.v1 import router_service_pb2 as pb

            from .reading import Reader
            from .request import generation_request

            request = pb.GenerateRequest(generation=generation_request(ask))
            expected = ask.n or 1 if ask.diversity_target is None else None
            return self._begin("generate", request, request.generation, ask.timeout, Reader(expected))

        return Answer(begin)

    def diverse(
        self,
        prompt: Prompt | Ask,
        *,
        plan: Mapping[str, int] | None = None,
        select: int | None = None,
        measures: Sequence[str] = (),
        evaluators: Sequence[str] = (),
        **options: Unpack[Options],
    ) -> DiverseAnswer:
        """`n` samples of one prompt over several models, then a selection and a diversity report.

        `plan` says how many samples each model gives (then `n` and `candidates` follow from it); without it
        `n` is spread over `candidates`, or over every model that may answer. `select` chooses that many of
        the most diverse. `measures` are lexical, syntactic, approach, semantic, combined; none named: those
        that need no model.
        """
        ask = _ask(prompt, options)

        def begin() -> tuple[Any, Root, Reader]:
            from orchestra.router.v1 import router_service_pb2 as pb

            from .reading import Reader
            from .request import generation_request

            generation = generation_request(ask)
            if plan:
                if ask.n is None:
                    generation.sampling.n = sum(plan.values())
                if ask.candidates is None:
                    generation.routing.candidates.extend(plan)
            request = pb.GenerateDiverseRequest(
                generation=generation,
                plan=[pb.ModelShare(model=model, samples=samples) for model, samples in (plan or {}).items()],
                select=select,
                measures=measures,
                evaluators=evaluators,
            )
            return self._begin("diverse", request, generation, ask.timeout, Reader())

        return DiverseAnswer(begin)

    def batch(
        self,
        asks: Iterable[Item] | AsyncIterable[Item],
        *,
        in_flight: int = 64,
        timeout: float | None = None,
    ) -> BatchAnswer:
        """Many asks on one stream, answered as they come.

        `asks` yields `Ask`s or `(key, Ask)`; it is read no faster than answers are taken, with at most
        `in_flight` out at once. `timeout` is of the whole stream; those of the asks do not count.
        """
        return BatchAnswer(self._connected, asks, in_flight, self._timeout(timeout))

    async def explain(self, prompt: Prompt | Ask, **options: Unpack[Options]) -> pb.ExplainRouteResponse:
        """Every target with its score, or the reason why it is out; nothing is generated."""
        from orchestra.router.v1 import router_service_pb2 as pb

        from .request import generation_request

        ask = _ask(prompt, options)
        request = pb.ExplainRouteRequest(generation=generation_request(ask))
        call = self._connected().router.ExplainRoute
        answer: pb.ExplainRouteResponse = await self._unary("explain", call, request, ask.timeout)
        return answer

    async def models(self, *, serving_only: bool = False) -> list[pb.AvailableModel]:
        """Models that can be asked for now or could be if they were loaded; all pages."""
        from orchestra.router.v1 import router_service_pb2 as pb

        found: list[pb.AvailableModel] = []
        token = ""
        while True:
            request = pb.ListModelsRequest(serving_only=serving_only, page_size=1000, page_token=token)
            answer = await self._unary("models", self._connected().router.ListModels, request)
            found.extend(answer.models)
            token = answer.next_page_token
            if not token:
                return found

    async def measure_diversity(
        self,
        texts: Iterable[str],
        *,
        models: Sequence[str] = (),
        language: str = "",
        measures: Sequence[str] = (),
        select: int | None = None,
        similarity: bool = False,
    ) -> pb.MeasureDiversityResponse:
        """How different given answers are. `models` says who wrote each, in order; `select` chooses that many
        of the most diverse; `similarity` asks for the matrices."""
        from orchestra.router.v1 import router_service_pb2 as pb

        candidates = [
            pb.DiversityCandidate(text=text, model=models[at] if at < len(models) else "", language=language)
            for at, text in enumerate(texts)
        ]
        request = pb.MeasureDiversityRequest(
            candidates=candidates, measures=measures, return_similarity=similarity, select=select
        )
        call = self._connected().router.MeasureDiversity
        answer: pb.MeasureDiversityResponse = await self._unary("measure", call, request)
        return answer

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.process != os.getpid():
            from .connection import Connection

            self._connection = Connection(self.settings)
        return self._connection

    def _begin(
        self,
        what: str,
        request: Any,
        generation: GenerationRequest,
        timeout: float | None,
        reader: Reader,
    ) -> tuple[Any, Root, Reader]:
        from orchestra_telemetry import names

        from .connection import Root

        connection = self._connected()
        attributes: dict[str, str | int] = {names.GEN_AI_CHOICE_COUNT: generation.sampling.n or 1}
        if generation.routing.model:
            attributes[names.GEN_AI_REQUEST_MODEL] = generation.routing.model
        if generation.run_id:
            attributes[names.RUN] = generation.run_id
        root = Root(connection.telemetry, f"orchestra {what}", attributes)
        with root.active():
            method = connection.router.Generate if what == "generate" else connection.router.GenerateDiverse
            call = method(request, timeout=self._timeout(timeout))
        return call, root, reader

    async def _unary(self, what: str, method: Any, request: Any, timeout: float | None = None) -> Any:
        from orchestra_errors import OrchestraError
        from orchestra_rpc import call_unary

        from .connection import Root

        root = Root(self._connected().telemetry, f"orchestra {what}", {})
        try:
            with root.active():
                call: Awaitable[Any] = method(request, timeout=self._timeout(timeout))
            answer = await call_unary(call)
        except OrchestraError as error:
            root.end(error)
            error.add_note(f"trace {root.trace_id}")
            raise
        except BaseException:
            root.end(cancelled=True)
            raise
        root.end()
        return answer

    def _timeout(self, asked: float | None) -> float | None:
        return self.settings.timeout if asked is None else asked


def _again(kind: type[Orchestra], settings: Settings) -> Orchestra:
    return kind(settings=settings)


def _ask(prompt: Prompt | Ask, options: Options) -> Ask:
    if isinstance(prompt, Ask):
        if not options:
            return prompt
        from dataclasses import replace

        return replace(prompt, **options)
    return Ask(prompt=prompt, **options)
