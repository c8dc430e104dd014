"""One sample: wait for a slot, draw, account for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass
from typing import Protocol

from orchestra_errors import WorkerLost
from orchestra_inference_node.domain.admission import Rank
from orchestra_inference_node.domain.drawing import Draw, End, Piece, Prefill
from orchestra_inference_node.domain.estimating import ServiceTimes
from orchestra_inference_node.domain.sharing import ProcessorSharing
from orchestra_inference_node.domain.speed import RecentSpeed
from orchestra_inference_node.flows.slots import Place, Slots
from orchestra_inference_node.ports import Engine, Outputs

# a prefill reports every chunk; this often is enough to see it move
_PREFILL_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Began:
    """The sample was taken on."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Still queued."""

    ahead: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Working:
    """Nothing came for a while. `prefill` None: tokens are being drawn."""

    prefill: Prefill | None
    elapsed_s: float


@dataclass(slots=True)
class Spent:
    """What a sample used, kept up to date while it runs. Seconds; None is not known yet."""

    began: float | None = None
    """When it arrived, on the flow's clock."""
    queued_s: float | None = None
    first_token_s: float | None = None
    total_s: float | None = None
    device_s: float | None = None
    prompt_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The sample is whole."""

    end: End
    spent: Spent


SampleEvent = Began | Waiting | Working | Piece | Ended


class Noted(Protocol):
    """A span that is told how a sample went."""

    def end(self, end: End) -> None: ...


OpenSpan = Callable[[Draw], AbstractContextManager[Noted]]


class SampleFlow:
    """Draws samples with one engine."""

    def __init__(
        self,
        engine: Engine,
        slots: Slots,
        clock: Callable[[], float],
        *,
        heartbeat_s: float,
        open_span: OpenSpan,
    ) -> None:
        self.engine = engine
        self.slots = slots
        self.clock = clock
        self.speed = RecentSpeed()
        self._times = ServiceTimes()
        self._sharing = ProcessorSharing()
        self._heartbeat_s = heartbeat_s
        self._open_span = open_span

    def until_first_token(self, prompt_tokens: int, rank: Rank, deadline: float | None) -> float:
        """Seconds that a new request would need, by what was seen so far; rather too few than too many."""
        admission = self.slots.admission
        return self._times.until_first_token(
            prompt_tokens,
            ahead=admission.ahead_of_new(rank, deadline),
            slots=admission.slots,
            free=admission.slots_free,
        )

    async def queued(self, place: Place, spent: Spent) -> AsyncGenerator[Waiting]:
        """Waiting until the place is granted. Whoever stops before gives it back."""
        begin = spent.began = self.clock()
        wait = 0.0
        while not await place.wait(wait):
            yield Waiting(place.ahead, self.clock() - begin)
            wait = self._heartbeat_s
        spent.queued_s = self.clock() - begin

    def streams(self, draws: tuple[Draw, ...]) -> tuple[Outputs, ...]:
        """The engine's streams of draws of one prompt; each is to be given to `draw`, or closed."""
        return self.engine.generate(draws, self._heartbeat_s)

    async def draw(
        self, name: str, draw: Draw, stream: Outputs, place: Place, spent: Spent
    ) -> AsyncGenerator[SampleEvent]:
        """Working and pieces, then Ended, of a sample whose place is granted.

        `name` is unique among what runs; `spent` is written as it goes, so that a caller can account for a
        sample that failed. Closes `stream` and gives `place` back on every way out. Raises what the engine
        raises.
        """
        begin = self.clock()
        if spent.began is None:
            spent.began, spent.queued_s = begin, 0.0
        end: End | None = None
        try:
            with self._sharing_device(name, spent):
                async with aclosing(stream), aclosing(self._run(draw, stream, begin, spent)) as events:
                    async for event in events:
                        if isinstance(event, End):
                            end = event
                        else:
                            yield event
        finally:
            place.leave()
            spent.total_s = self.clock() - spent.began
        if end is None:
            raise WorkerLost(name, "the engine ended a sample without an end")
        self._times.ended(self.clock() - begin)
        yield Ended(end, spent)

    @contextmanager
    def _sharing_device(self, name: str, spent: Spent) -> Iterator[None]:
        now = self.clock()
        self._sharing.enter(name, now)
        self.speed.started(now)
        try:
            yield
        finally:
            now = self.clock()
            spent.device_s = self._sharing.leave(name, now)
            self.speed.ended(spent.completion_tokens, now)

    async def _run(
        self, draw: Draw, stream: Outputs, granted: float, spent: Spent
    ) -> AsyncGenerator[SampleEvent | End]:
        prefill: Prefill | None = Prefill(0, len(draw.prompt_ids), 0)
        begin = granted if spent.began is None else spent.began
        said = granted
        with self._open_span(draw) as span:
            async for output in stream:
                now = self.clock()
                match output:
                    case Piece():
                        if spent.first_token_s is None:
                            spent.first_token_s = now - begin
                            spent.prompt_tokens = len(draw.prompt_ids)
                            self._times.first_token(len(draw.prompt_ids), now - granted)
                        prefill = None
                        spent.completion_tokens += output.tokens
                        yield output
                    case Prefill():
                        prefill = output
                        spent.prompt_tokens, spent.cached_prompt_tokens = output.done, output.cached
                        if now - said < _PREFILL_EVERY_S:
                            continue
                        yield Working(prefill, now - begin)
                    case End():
                        spent.prompt_tokens = output.prompt_tokens
                        spent.cached_prompt_tokens = output.cached_prompt_tokens
                        spent.completion_tokens = output.completion_tokens
                        span.end(output)
                        yield output
                    case _:
                        yield Working(prefill, now - begin)
                said = now
