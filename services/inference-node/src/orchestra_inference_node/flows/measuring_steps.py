"""The steps of one measurement, and what each of them asks the worker for."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from typing import Any

from orchestra_errors import FailedPrecondition, Unsupported
from orchestra_inference_node.domain.measuring import (
    Rounds,
    long_prompt,
    parallels,
    short_prompt,
    words_of_long_prompt,
)
from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.flows.gauges import Gauges
from orchestra_inference_node.ports import Probe

_FIRST_TOKENS_A_ROUND = 3
_TEXTS_A_ROUND = 16
_FIRST_WORDS = 48

Run = Callable[[], Coroutine[Any, Any, None]]
Lane = Callable[[], Coroutine[Any, Any, int]]


class MeasuringSteps:
    """Writes into `seen`. `tokens`: how many each request draws."""

    def __init__(
        self,
        resident: Resident,
        probe: Probe,
        gauges: Gauges,
        seen: Rounds,
        tokens: int,
        clock: Callable[[], float],
    ) -> None:
        self._resident = resident
        self._probe = probe
        self._gauges = gauges
        self._seen = seen
        self._tokens = tokens
        self._clock = clock
        self._run = uuid.uuid4().hex
        self._number = count()
        self._parallels = parallels(resident.facts["slots"])
        self._long_words: int | None = None

    def steps(self, rounds: int) -> Iterator[tuple[str, Run]]:
        """What runs, in words, and how to run it. Rounds take turns at everything, because a shared machine
        swings. Raises Unsupported."""
        facts = self._resident.facts
        turns: list[tuple[str, Run]] = []
        if facts.get("generate", True):
            yield "warms up", self._learn_the_tokenizer
            turns = [("first token", self._first_token), ("prefill of a long prompt", self._prefill)]
            lane: Lane = self._lane
        elif facts.get("embeddings"):
            yield "warms up", self._one_text
            lane = self._texts
        else:
            raise Unsupported("generate or embed, and nothing else is measured", self._resident.wanted.model)
        turns += [(_at_once(each), partial(self._side_by_side, each, lane)) for each in self._parallels]
        for turn in range(1, rounds + 1):
            for activity, run in turns:
                yield f"{activity}, round {turn} of {rounds}", run

    def _short(self) -> str:
        return short_prompt(self._run, next(self._number))

    def _long(self, words: int) -> str:
        return long_prompt(self._run, next(self._number), words)

    async def _learn_the_tokenizer(self) -> None:
        drawn = await self._probe.draw(self._long(_FIRST_WORDS), 1)
        if drawn.computed_prompt_tokens:
            context = self._resident.facts["context_tokens"]
            self._long_words = words_of_long_prompt(context, _FIRST_WORDS, drawn.computed_prompt_tokens)

    async def _first_token(self) -> None:
        for _ in range(_FIRST_TOKENS_A_ROUND):
            self._seen.first_token_s.append((await self._probe.draw(self._short(), 1)).first_token_s)

    async def _prefill(self) -> None:
        """Nothing where the engine does not count a prompt's tokens."""
        if self._long_words is None:
            return
        drawn = await self._probe.draw(self._long(self._long_words), 1)
        if drawn.computed_prompt_tokens:
            self._seen.prefill_per_s.append(drawn.computed_prompt_tokens / drawn.first_token_s)

    async def _side_by_side(self, parallel: int, lane: Lane) -> None:
        """The watts and the memory are those while the most requests run."""
        async with AsyncExitStack() as stack:
            if parallel == self._parallels[-1]:
                await stack.enter_async_context(self._gauges.read_into(self._seen, self._resident))
            begin = self._clock()
            try:
                async with asyncio.TaskGroup() as group:
                    lanes = [group.create_task(lane(), name="measured request") for _ in range(parallel)]
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
            seconds = self._clock() - begin
        speed = sum(one.result() for one in lanes) / seconds
        self._seen.speeds.setdefault(parallel, []).append(speed)

    async def _lane(self) -> int:
        """A model that ends its answer early is asked again, so that the others do not have the engine to
        themselves meanwhile."""
        drawn = 0
        for _ in range(self._tokens):
            drawn += (await self._probe.draw(self._short(), self._tokens - drawn)).tokens
            if drawn >= self._tokens:
                return drawn
        model = self._resident.wanted.model
        raise FailedPrecondition(f"model {model}", f"drew {drawn} tokens in {self._tokens} answers")

    async def _one_text(self) -> None:
        await self._probe.embed(self._short())

    async def _texts(self) -> int:
        for _ in range(_TEXTS_A_ROUND):
            await self._one_text()
        return _TEXTS_A_ROUND


def _at_once(parallel: int) -> str:
    return f"{parallel} {'request' if parallel == 1 else 'requests'} at once"
