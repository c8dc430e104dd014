"""What the flows need of the world."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestra.ledger.v1 import entry_pb2
from orchestra_cloud_proxy.domain.call import Call
from orchestra_cloud_proxy.domain.chunk import Chunk, Tokens
from orchestra_cloud_proxy.domain.faults import Fault
from orchestra_secrets import Secret

Clock = Callable[[], float]
"""Monotonic seconds."""


class ProviderFailed(Exception):
    """A call to a provider failed; the one way in which an adapter fails."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.where.value}: {fault.message}")
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Embedded:
    """One vector per text, in the order of the texts, as the provider scaled them."""

    vectors: Sequence[Sequence[float]]
    usage: Tokens | None


class Provider(Protocol):
    """One account at one vendor, spoken to by the vendor's SDK. `key` None: the server wants none.

    Every adapter passes `tests/integration/cloud-proxy/test_provider_contract.py`.
    """

    def stream(self, call: Call, key: Secret | None) -> AsyncGenerator[Chunk, None]:
        """One sample, asked for once. Ends by itself only after a chunk with a finish and the stream's own
        end; raises ProviderFailed for everything else. Cancelling the task that reads it, or closing it,
        closes the connection. No time limit of its own but for connecting."""
        ...

    async def embed(self, provider_model: str, texts: Sequence[str], key: Secret | None) -> Embedded:
        """Raises ProviderFailed."""
        ...

    async def close(self) -> None: ...


class Prices(Protocol):
    """The price book as last heard from the ledger."""

    def price(self, provider: str, model: str) -> entry_pb2.Price | None:
        """None: not known."""
        ...


class Journal(Protocol):
    """Durable record of attempts."""

    async def opened(self, entry: entry_pb2.UsageEntry) -> None:
        """Durable when it returns. Raises Unavailable: the call must not leave."""
        ...

    def settled(self, entry: entry_pb2.UsageEntry) -> Awaitable[None]:
        """Taken at once, durable when awaited. Raises Unavailable only for what was never opened."""
        ...


class Keys(Protocol):
    """The keys of one provider."""

    def present(self) -> Sequence[tuple[str, Secret | None]]:
        """Slot name and key; ("", None) alone for a server without keys; empty: no key is there."""
        ...

    def why_absent(self) -> str:
        """For people: where a key was looked for. Never a value."""
        ...
