"""The host: its cards, its meters, and what is kept on it."""

from __future__ import annotations

from typing import Protocol

from orchestra_inference_node.domain.inventory import CardReading, Cards
from orchestra_inference_node.domain.measuring import Figures, LoadedAs


class CardDriver(Protocol):
    """The driver of the host's cards. Every call blocks."""

    def cards(self) -> Cards:
        """Who is there."""
        ...

    def reading(self, index: int) -> CardReading:
        """One card's memory and power now."""
        ...


class Meter(Protocol):
    """Measures what devices draw."""

    async def watts(self, device_ids: tuple[str, ...]) -> float | None:
        """Of all of them together, now or on the mean since they were last asked about; None when one of
        them has no meter, or has nothing to say yet."""
        ...


class SpeedStore(Protocol):
    """Keeps measurements over restarts."""

    def of(self, loaded: LoadedAs) -> Figures | None: ...

    async def keep(self, loaded: LoadedAs, figures: Figures) -> None:
        """Durable when it returns; a failure to write is logged, and the figures last until the daemon
        ends."""
        ...


class ChangeSignal(Protocol):
    """Tells that something of the node changed."""

    @property
    def version(self) -> int: ...

    async def after(self, seen: int, seconds: float | None = None) -> int:
        """The version once it is newer than `seen`, or after `seconds` whatever it is then."""
        ...
