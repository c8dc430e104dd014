"""The mesh for programs without an event loop: the same calls, waited for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar, Unpack

from .answer import Answer, DiverseAnswer
from .ask import Ask, Options, Prompt
from .batch import Item
from .events import Event, Failed, Finished, TextDelta
from .loop_thread import wait_for
from .orchestra import Orchestra
from .sample import Sample
from .settings import Settings

if TYPE_CHECKING:
    from orchestra.router.v1 import router_service_pb2 as pb

T = TypeVar("T")


class _Readable(Protocol[T]):
    async def read(self) -> list[T]: ...
    async def aclose(self) -> None: ...


class SyncStream(Generic[T]):
    """What comes, as an iterator. Leaving the `with` block or the loop's end ends the call."""

    def __init__(self, source: _Readable[T]) -> None:
        self._source = source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trail: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        try:
            while True:
                # what has come in the meantime comes along: a change of threads costs more than an event
                found = wait_for(self._source.read())
                if not found:
                    return
                yield from found
        finally:
            self.close()

    def close(self) -> None:
        """Ends the call at once, in the engine too."""
        wait_for(self._source.aclose())


class SyncAnswer(SyncStream[Event]):
    """The events of one request; see Answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self._answer = answer

    @property
    def trace_id(self) -> str:
        return self._answer.trace_id

    @property
    def failures(self) -> list[Failed]:
        return self._answer.failures

    def samples(self) -> Iterator[Sample]:
        """Samples as they finish; where every one failed, the first one's error is raised in the end."""
        finished = 0
        for event in self:
            if isinstance(event, Finished):
                finished += 1
                yield event.sample
        if self.failures and not finished:
            raise self.failures[0].error

    def collect(self) -> list[Sample]:
        """Every sample, in the order of their indexes. Raises the error of the first that failed."""
        return wait_for(self._answer.collect())

    def text(self) -> Iterator[str]:
        """The answer's text as it comes; for requests of a single sample."""
        for event in self:
            if isinstance(event, TextDelta) and event.text:
                yield event.text


class SyncDiverseAnswer(SyncAnswer):
    """An answer of several models; `summary` is there when the stream has ended."""

    def __init__(self, answer: DiverseAnswer) -> None:
        super().__init__(answer)
        self._diverse = answer

    @property
    def summary(self) -> pb.DiverseSummary | None:
        return self._diverse.summary


class SyncOrchestra:
    """Orchestra without async: `with SyncOrchestra("127.0.0.1:50050") as mesh:`. Safe to use from threads."""

    def __init__(self, address: str | None = None, *, settings: Settings | None = None) -> None:
        self._mesh = Orchestra(address, settings=settings)

    @property
    def settings(self) -> Settings:
        return self._mesh.settings

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trail: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every running call and sends the last spans."""
        wait_for(self._mesh.aclose())

    def generate(self, prompt: Prompt | Ask, **options: Unpack[Options]) -> SyncAnswer:
        """See Orchestra.generate."""
        return SyncAnswer(self._mesh.generate(prompt, **options))

    def diverse(
        self,
        prompt: Prompt | Ask,
        *,
        plan: Mapping[str, int] | None = None,
        select: int | None = None,
        measures: Sequence[str] = (),
        evaluators: Sequence[str] = (),
        **options: Unpack[Options],
    ) -> SyncDiverseAnswer:
        """See Orchestra.diverse."""
        answer = self._mesh.diverse(
            prompt, plan=plan, select=select, measures=measures, evaluators=evaluators, **options
        )
        return SyncDiverseAnswer(answer)

    def batch(
        self, asks: Iterable[Item], *, in_flight: int = 64, timeout: float | None = None
    ) -> SyncStream[tuple[str, Event]]:
        """See Orchestra.batch. `asks` is read in the loop's thread: it should not block for long."""
        return SyncStream(self._mesh.batch(asks, in_flight=in_flight, timeout=timeout))

    def explain(self, prompt: Prompt | Ask, **options: Unpack[Options]) -> pb.ExplainRouteResponse:
        """See Orchestra.explain."""
        return wait_for(self._mesh.explain(prompt, **options))

    def models(self, *, serving_only: bool = False) -> list[pb.AvailableModel]:
        """See Orchestra.models."""
        return wait_for(self._mesh.models(serving_only=serving_only))

    def measure_diversity(
        self,
        texts: Iterable[str],
        *,
        models: Sequence[str] = (),
        language: str = "",
        measures: Sequence[str] = (),
        select: int | None = None,
        similarity: bool = False,
    ) -> pb.MeasureDiversityResponse:
        """See Orchestra.measure_diversity."""
        return wait_for(
            self._mesh.measure_diversity(
                texts,
                models=models,
                language=language,
                measures=measures,
                select=select,
                similarity=similarity,
            )
        )
