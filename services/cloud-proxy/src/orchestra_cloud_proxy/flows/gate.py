"""The way to one provider: places at once and requests and tokens per minute, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from orchestra_cloud_proxy.domain.bucket import KeyLimits
from orchestra_cloud_proxy.domain.window import Window
from orchestra_cloud_proxy.ports import Clock, Keys
from orchestra_errors import NoCapacity, UpstreamFailed, UpstreamKind
from orchestra_secrets import Secret


class Ticket:
    """One call's place in the line, and then its place at the provider. Leaving the block gives it back."""

    def __init__(self, gate: Gate, model: str, tokens: int) -> None:
        self._gate = gate
        self.model = model
        self.tokens = tokens
        self.slot = ""
        self.key: Secret | None = None
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def granted(self) -> bool:
        return self.turn.done() and not self.turn.cancelled()

    async def wait(self, seconds: float) -> bool:
        """Whether it may go; False after `seconds`. Raises when the provider's keys are gone meanwhile."""
        if not self.turn.done():
            await asyncio.wait([self.turn], timeout=seconds)
        if self.turn.done():
            self.turn.result()
            return True
        return False

    def used(self, tokens: int) -> None:
        """What the call really took."""
        self._gate.correct(self, tokens)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trail: TracebackType | None
    ) -> None:
        self._gate.leave(self)


class Gate:
    """Belongs to one provider. `most` calls at once over all its models, and at most as many of each model as
    its window has places. There is no fixed time limit for waiting: the caller's deadline is one."""

    def __init__(
        self, provider: str, keys: Keys, clock: Clock, *, rpm: int | None, tpm: int | None, most: int
    ) -> None:
        self._provider = provider
        self._keys = keys
        self._clock = clock
        self._rpm = rpm
        self._tpm = tpm
        self._most = most
        self._limits: dict[str, KeyLimits] = {}
        self._windows: dict[str, Window] = {}
        self._running: dict[str, int] = {}
        self._line: list[Ticket] = []
        self._timer: asyncio.TimerHandle | None = None

    def join(self, model: str, tokens: int, seconds_left: float) -> Ticket:
        """Stand in line. Raises NoCapacity when the limits leave no turn within `seconds_left`, and
        UpstreamFailed when there is no key."""
        wait, _, _ = self._soonest(tokens + sum(ticket.tokens for ticket in self._line))
        if wait > seconds_left:
            raise NoCapacity(f"{model} at {self._provider}", wait)
        ticket = Ticket(self, model, tokens)
        self._line.append(ticket)
        self._let_go()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Out of the line, or back from the provider."""
        if ticket in self._line:
            self._line.remove(ticket)
        if ticket.granted and ticket.turn.exception() is None:
            self._running[ticket.model] -= 1
        ticket.turn.cancel()
        self._let_go()

    def correct(self, ticket: Ticket, tokens: int) -> None:
        limits = self._of(ticket.slot)
        self._limits[ticket.slot] = limits.corrected(tokens - ticket.tokens, self._clock())

    def worked(self, model: str) -> None:
        self._windows[model] = self._window(model).worked()

    def limited(self, ticket: Ticket, retry_after: float | None) -> None:
        """The provider said: too much. Nobody goes with this key before `retry_after`."""
        self._windows[ticket.model] = self._window(ticket.model).limited()
        if retry_after is not None:
            until = self._clock() + retry_after
            self._limits[ticket.slot] = self._of(ticket.slot).paused(until)

    def left(self) -> tuple[int | None, int | None]:
        """Requests and tokens that may leave now, over all keys; None where no limit is known."""
        now = self._clock()
        limits = [self._of(slot) for slot, _ in self._keys.present()]
        requests = [int(one.requests.filled(now).level) for one in limits if one.requests]
        tokens = [int(one.tokens.filled(now).level) for one in limits if one.tokens]
        return (
            max(0, sum(requests)) if self._rpm is not None else None,
            max(0, sum(tokens)) if self._tpm is not None else None,
        )

    def _let_go(self) -> None:
        """Grant every turn that can be granted. One that waits for the limits holds up those behind it; one
        that waits for a place of its model does not hold up other models."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for ticket in list(self._line):
            if sum(self._running.values()) >= self._most:
                return
            if self._running.get(ticket.model, 0) >= self._window(ticket.model).places:
                continue
            try:
                wait, slot, key = self._soonest(ticket.tokens)
            except UpstreamFailed as gone:
                self._line.remove(ticket)
                ticket.turn.set_exception(gone)
                continue
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self._let_go)
                return
            self._line.remove(ticket)
            self._limits[slot] = self._of(slot).taken(ticket.tokens, self._clock())
            self._running[ticket.model] = self._running.get(ticket.model, 0) + 1
            ticket.slot, ticket.key = slot, key
            ticket.turn.set_result(None)

    def _soonest(self, tokens: int) -> tuple[float, str, Secret | None]:
        """The key that may be used first: after how long, and which."""
        now = self._clock()
        present: Sequence[tuple[str, Secret | None]] = self._keys.present()
        if not present:
            raise UpstreamFailed(self._provider, UpstreamKind.AUTH, self._keys.why_absent())
        waits = [(self._of(slot).wait(tokens, now), number) for number, (slot, _) in enumerate(present)]
        wait, number = min(waits)
        return (wait, *present[number])

    def _of(self, slot: str) -> KeyLimits:
        return self._limits.get(slot) or KeyLimits.of(self._rpm, self._tpm, self._clock())

    def _window(self, model: str) -> Window:
        return self._windows.get(model) or Window.open(self._most)
