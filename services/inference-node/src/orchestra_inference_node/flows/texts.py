"""Work on given texts: scoring and embedding, in bounded portions that let other callers in between."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orchestra_errors import FieldViolation, InvalidRequest, NoCapacity, Unsupported, Violations
from orchestra_inference_node.domain.admission import Rank
from orchestra_inference_node.domain.drawing import Embedded, Piece
from orchestra_inference_node.domain.estimating import GivenTimes
from orchestra_inference_node.flows.slots import Place, Slots
from orchestra_inference_node.ports import Engine

T = TypeVar("T")
R = TypeVar("R")
# texts that one slot embeds before it lets others in
_PORTION = 16
_FRAME = 8
_TEXT = re.compile(r"texts\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Scoring:
    """A target to score after a prompt, in tokens."""

    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]


class TextsFlow:
    """Scores and embeds with one engine. Every portion takes a slot of the same queue as generation."""

    def __init__(self, engine: Engine, slots: Slots, clock: Callable[[], float]) -> None:
        self.engine = engine
        self._slots = slots
        self._clock = clock
        self._scoring = GivenTimes()
        self._embedding = GivenTimes()

    async def score(self, items: Sequence[Scoring], top: int, deadline: float | None) -> list[Piece]:
        """Logprobs of each target, in order; see Engine.score.

        Raises NoCapacity before anything began, also for what cannot be done before the deadline, and
        whatever the engine finds wrong, with the item named.
        """

        async def one(numbered: tuple[int, Scoring]) -> Piece:
            at, item = numbered
            try:
                return await self.engine.score(item.prompt_ids, item.target_ids, top)
            except InvalidRequest as error:
                found = Violations()
                found.extend(error, f"items[{at}].")
                raise InvalidRequest(found.found) from error

        sizes = [len(item.target_ids) for item in items]
        return await self._each(list(enumerate(items)), one, deadline, sizes, self._scoring)

    async def embed(self, texts: Sequence[str], deadline: float | None) -> list[Embedded]:
        """A vector of unit length for each text, in order. Raises as `score` does, every text that is too
        long named before any is computed."""
        await self._refuse_long(texts)

        async def portion(begin: int) -> list[Embedded]:
            try:
                return await self.engine.embed(tuple(texts[begin : begin + _PORTION]))
            except InvalidRequest as error:
                raise _counted_from(begin, error) from error

        begins = range(0, len(texts), _PORTION)
        sizes = [sum(map(len, texts[begin : begin + _PORTION])) for begin in begins]
        portions = await self._each(begins, portion, deadline, sizes, self._embedding)
        return [one for some in portions for one in some]

    async def _refuse_long(self, texts: Sequence[str]) -> None:
        found = Violations()
        limit = self.engine.facts.context_tokens
        for at, text in enumerate(texts):
            # no token is shorter than a byte, but for the few that every text begins and ends with
            if len(text.encode()) + _FRAME > limit:
                try:
                    tokens = len(await self.engine.tokenize(text))
                except Unsupported:
                    # then the engine judges, a portion at a time
                    return
                found.require(
                    tokens <= limit, f"texts[{at}]", f"has {tokens} tokens; the model takes {limit}"
                )
        found.raise_if_any()

    async def _each(
        self,
        items: Sequence[T],
        work: Callable[[T], Awaitable[R]],
        deadline: float | None,
        sizes: Sequence[int],
        times: GivenTimes,
    ) -> list[R]:
        """As many at once as there are slots. The first that fails ends the others."""
        needed = times.least(sizes, self._slots.admission.slots)
        if deadline is not None and self._clock() + needed > deadline:
            raise NoCapacity(self._slots.model, retry_after=max(1.0, round(needed, 1)))
        results: dict[int, R] = {}
        left = iter(enumerate(items))
        first = self._slots.enter(Rank.NORMAL, deadline)

        async def take(place: Place | None) -> None:
            for at, item in left:
                # the limit of the queue is on requests, and this one is in
                held = place or self._slots.enter(Rank.NORMAL, deadline, in_already=True)
                place = None
                try:
                    await held.granted.wait()
                    begin = self._clock()
                    results[at] = await work(item)
                    times.took(sizes[at], self._clock() - begin)
                finally:
                    held.leave()

        try:
            async with asyncio.TaskGroup() as group:
                for place in [first, *[None] * (min(len(items), self._slots.admission.slots) - 1)]:
                    group.create_task(take(place), name="texts")
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            first.leave()
        return [results[at] for at in range(len(items))]


def _counted_from(begin: int, error: InvalidRequest) -> InvalidRequest:
    """What an engine found wrong with a portion, by the position in all texts."""

    def moved(field: str) -> str:
        return _TEXT.sub(lambda match: f"texts[{begin + int(match[1])}]", field)

    return InvalidRequest([FieldViolation(moved(one.field), one.description) for one in error.violations])
