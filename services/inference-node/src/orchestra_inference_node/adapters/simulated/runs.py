"""Draws in time: a prompt that some share, then tokens as the declared speed lets them come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from math import floor, inf

from orchestra_errors import Unavailable, WorkerLost
from orchestra_inference_node.adapters.simulated.declared import Failure
from orchestra_inference_node.adapters.simulated.speaking import Said, Writer
from orchestra_inference_node.domain.drawing import Draw, Idle, Output, Prefill
from orchestra_inference_node.domain.pace import Pace

_IN_AN_ANSWER = ("dies", "stalls", "truncates", "errors")
# prompt tokens between two reports
_CHUNK = 128
# tokens of one piece, where nothing takes time
_PACK = 64
# a shorter sleep might not move a clock that is far on
_SHORTEST_S = 1e-6


class Bench:
    """What all draws of a model share: its time, who runs beside whom, the prompts in its slots, its ills."""

    def __init__(
        self,
        model: str,
        pace: Pace,
        failure: Failure,
        *,
        context_tokens: int,
        slots: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        die: Callable[[], None],
    ) -> None:
        self.model = model
        self.pace = pace
        self.failure = failure
        self.context_tokens = context_tokens
        self.clock = clock
        self.sleep = sleep
        self.decoding = pace.decoding()
        self.prefilling = pace.prefilling()
        self._slots = slots
        self._die = die
        self._long_answers = 0
        self._prompts: OrderedDict[tuple[int, ...], None] = OrderedDict()

    def holds(self, prompt: tuple[int, ...]) -> bool:
        """Whether the prompt was computed before and is still there."""
        return prompt in self._prompts

    def keep(self, prompt: tuple[int, ...]) -> None:
        """As many prompts are kept as there are slots, the last ones used."""
        self._prompts[prompt] = None
        self._prompts.move_to_end(prompt)
        while len(self._prompts) > self._slots:
            self._prompts.popitem(last=False)

    @property
    def failure_after(self) -> float:
        """Tokens of an answer that come whatever the model's ills are."""
        return self.failure.after if self.failure.kind in _IN_AN_ANSWER else inf

    def fails_now(self) -> bool:
        """Asked once by each answer that goes on where the model may fail."""
        self._long_answers += 1
        return self._long_answers % self.failure.every == 0

    def fail(self) -> None:
        """Raises what the model fails with in the middle of an answer; returns where it only ends or
        stalls."""
        match self.failure.kind:
            case "dies":
                self._die()
                raise WorkerLost(self.model, f"it died, {self.failure.text}")
            case "errors":
                raise Unavailable(f"the engine of {self.model} ({self.failure.text})", retry_after=1.0)


class _Rest:
    """Waiting that is interrupted when nothing was said for long."""

    def __init__(self, bench: Bench, idle_s: float) -> None:
        self._bench = bench
        self._idle_s = idle_s
        self.said()

    def said(self) -> None:
        self._since = self._bench.clock()

    async def idle(self, seconds: float) -> bool:
        """Wait; whether it is time to say that nothing comes."""
        left = self._since + self._idle_s - self._bench.clock()
        await self._bench.sleep(max(_SHORTEST_S, min(seconds, left)))
        if self._bench.clock() - self._since < self._idle_s - _SHORTEST_S:
            return False
        self.said()
        return True


class Run:
    """Draws of one prompt, which the first that is read computes for all."""

    def __init__(
        self, bench: Bench, draws: tuple[Draw, ...], speak: Callable[[Draw], Iterator[Said]]
    ) -> None:
        """`speak` gives the answer of a draw, or raises what is wrong with it."""
        self._bench = bench
        self._draws = draws
        self._speak = speak
        self._prompt = draws[0].prompt_ids
        self._computed = bench.holds(self._prompt)
        self._computing = False
        self._readers = 0

    async def stream(self, at: int, idle_s: float) -> AsyncGenerator[Output]:
        """See Engine.generate."""
        bench, draw = self._bench, self._draws[at]
        said = self._speak(draw)
        rest = _Rest(bench, idle_s)
        cached = len(self._prompt) if self._computed or self._readers else 0
        writer = Writer(draw, said, bench.context_tokens - len(self._prompt), cached)
        self._readers += 1
        try:
            async with aclosing(self._prefill(cached, rest)) as outputs:
                async for output in outputs:
                    yield output
            bench.decoding.enter(writer, bench.clock())
            async with aclosing(self._decode(writer, rest)) as outputs:
                async for output in outputs:
                    yield output
        finally:
            self._readers -= 1
            bench.decoding.leave(writer, bench.clock())
            if not self._readers:
                self._computing = False
                bench.prefilling.leave(self, bench.clock())

    async def _prefill(self, cached: int, rest: _Rest) -> AsyncGenerator[Output]:
        bench, total = self._bench, len(self._prompt)
        begin = bench.clock() + bench.pace.first_token_s
        while (left := begin - bench.clock()) > 0:
            if await rest.idle(left):
                yield Idle()
        while (done := self._prefilled()) < total:
            step = min(total, (done // _CHUNK + 1) * _CHUNK)
            wait = bench.prefilling.seconds_until(self, step, bench.clock())
            if await rest.idle(wait):
                yield Idle()
            elif step < total and self._prefilled() >= step:
                yield Prefill(step, total, cached)
                rest.said()
        yield Prefill(total, total, cached)

    def _prefilled(self) -> int:
        """Tokens of the prompt that are computed; begins with it where nobody has."""
        bench, total = self._bench, len(self._prompt)
        if not self._computed and not self._computing:
            self._computing = True
            bench.prefilling.enter(self, bench.clock())
        if not self._computed and bench.prefilling.done(self, bench.clock()) >= total:
            self._computed = True
            bench.prefilling.leave(self, bench.clock())
        if self._computed:
            bench.keep(self._prompt)
            return total
        return int(bench.prefilling.done(self, bench.clock()))

    async def _decode(self, writer: Writer, rest: _Rest) -> AsyncGenerator[Output]:
        bench = self._bench
        given, bound = 0, bench.failure_after
        while writer.end is None:
            if given >= bound:
                if bench.fails_now():
                    async with aclosing(self._fail(writer, rest)) as outputs:
                        async for output in outputs:
                            yield output
                    return
                bound = inf
            # the first token is there as soon as the prompt is
            due = min(1 + floor(min(given + _PACK, bench.decoding.done(writer, bench.clock()))), bound)
            if due <= given:
                if await rest.idle(bench.decoding.seconds_until(writer, given, bench.clock())):
                    yield Idle()
                continue
            piece = writer.write(int(due) - given)
            given += piece.tokens
            if writer.end is not None:
                # a reader that is slow from here on slows nobody down
                bench.decoding.leave(writer, bench.clock())
            if piece.tokens or piece.text:
                yield piece
                rest.said()
            if not bench.pace.tokens_per_second:
                # nothing else lets others in
                await bench.sleep(0)
        yield writer.end

    async def _fail(self, writer: Writer, rest: _Rest) -> AsyncGenerator[Output]:
        self._bench.decoding.leave(writer, self._bench.clock())
        self._bench.fail()
        while self._bench.failure.kind == "stalls":
            if await rest.idle(inf):
                yield Idle()
