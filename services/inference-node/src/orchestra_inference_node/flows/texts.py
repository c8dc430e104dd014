"""Work on given texts: scoring and embedding, in bounded portions that let other callers in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orchestra_errors import InvalidRequest, Violations
from orchestra_inference_node.domain.admission import Rank
from orchestra_inference_node.domain.drawing import Embedded, Piece
from orchestra_inference_node.flows.slots import Place, Slots
from orchestra_inference_node.ports import Engine

T = TypeVar("T")
R = TypeVar("R")
# texts that one slot embeds before it lets others in
_PORTION = 16


@dataclass(frozen=True, slots=True)
class Scoring:
    """A target to score after a prompt, in tokens."""

    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]


class TextsFlow:
    """Scores and embeds with one engine. Every portion takes a slot of the same queue as generation."""

    def __init__(self, engine: Engine, slots: Slots) -> None:
        self.engine = engine
        self._slots = slots

    async def score(self, items: Sequence[Scoring], top: int, deadline: float | None) -> list[Piece]:
        """Logprobs of each target, in order; see Engine.score.

        Raises NoCapacity before anything began, and whatever the engine finds wrong, with the item named.
        """

        async def one(numbered: tuple[int, Scoring]) -> Piece:
            at, item = numbered
            try:
                return await self.engine.score(item.prompt_ids, item.target_ids, top)
            except InvalidRequest as error:
                found = Violations()
                found.extend(error, f"items[{at}].")
                raise InvalidRequest(found.found) from error

        return await self._each(list(enumerate(items)), one, deadline)

    async def embed(self, texts: Sequence[str], deadline: float | None) -> list[Embedded]:
        """A vector of unit length for each text, in order. Raises as `score` does."""
        portions = [tuple(texts[at : at + _PORTION]) for at in range(0, len(texts), _PORTION)]
        return [one for portion in await self._each(portions, self.engine.embed, deadline) for one in portion]

    async def _each(
        self, items: Sequence[T], work: Callable[[T], Awaitable[R]], deadline: float | None
    ) -> list[R]:
        """As many at once as there are slots. The first that fails ends the others."""
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
                    results[at] = await work(item)
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
