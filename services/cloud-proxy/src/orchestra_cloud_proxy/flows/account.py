"""One configured provider: its adapter, keys, gate and breakers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from orchestra_cloud_proxy.domain.breaker import Breaker, BreakerState
from orchestra_cloud_proxy.domain.faults import Judgement
from orchestra_cloud_proxy.domain.offerings import Offering
from orchestra_cloud_proxy.flows.gate import Gate, Ticket
from orchestra_cloud_proxy.flows.keyring import Keyring
from orchestra_cloud_proxy.ports import Clock, Provider
from orchestra_errors import NotYet, Unavailable, UpstreamKind

log = structlog.get_logger()


@dataclass(slots=True)
class Account:
    """`adapter` None: this build cannot speak to its kind yet. `timeout_s` bounds a call whose caller sets no
    deadline."""

    name: str
    kind: str
    base_url: str
    rpm: int | None
    tpm: int | None
    timeout_s: float
    adapter: Provider | None
    keys: Keyring
    gate: Gate
    fresh_breaker: Breaker
    clock: Clock
    _breakers: dict[str, Breaker] = field(default_factory=dict)

    def provider(self) -> Provider:
        """Raises NotYet."""
        if self.adapter is None:
            raise NotYet(f"providers of kind {self.kind} ({self.name})")
        return self.adapter

    def breaker(self, model: str) -> Breaker:
        return self._breakers.get(model, self.fresh_breaker)

    def check(self, model: str) -> None:
        """Raises Unavailable while the breaker lets nobody through."""
        wait = self.breaker(model).wait(self.clock())
        if wait is not None:
            raise Unavailable(f"{model} at {self.name} (it failed several times in a row)", wait)

    def began(self, model: str) -> None:
        """A call leaves."""
        self._breakers[model] = self.breaker(model).began(self.clock())

    def worked(self, model: str) -> None:
        self._breakers[model] = self.breaker(model).worked()
        self.gate.worked(model)

    def failed(self, ticket: Ticket, judgement: Judgement, retry_after: float | None) -> None:
        before = self.breaker(ticket.model)
        after = before.failed(self.clock()) if judgement.blames else before.ended()
        self._breakers[ticket.model] = after
        if judgement.kind is UpstreamKind.RATE_LIMITED:
            self.gate.limited(ticket, retry_after)
        if after.opened_at is not None and before.opened_at is None:
            log.warning("breaker opened", provider=self.name, model=ticket.model, kind=str(judgement.kind))

    def ended(self, model: str) -> None:
        """A call ended without telling anything about the provider."""
        self._breakers[model] = self.breaker(model).ended()

    def forgive(self) -> None:
        """Close every breaker: something was done about the cause."""
        self._breakers.clear()

    def states(self, offerings: Iterable[Offering]) -> list[BreakerState]:
        now = self.clock()
        return [self.breaker(offering.model).state(now) for offering in offerings]
