"""The keys of one provider: read by name, read again on demand, told of without being told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from orchestra_secrets import Secret, SecretInvalid, SecretMissing, SecretSource

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Slot:
    """One key by its secret's name. `since`: when this value was first read; `problem`: why there is none."""

    name: str
    key: Secret | None = None
    since: datetime | None = None
    problem: str = ""


class Keyring:
    """Implements the port Keys. A key that is read again unchanged keeps its age."""

    def __init__(
        self,
        provider: str,
        names: Sequence[str],
        source: SecretSource,
        rotation: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._provider = provider
        self._source = source
        self._rotation = rotation
        self._now = now
        self.slots = tuple(Slot(name, problem="was not read yet") for name in names)

    def present(self) -> Sequence[tuple[str, Secret | None]]:
        if not self.slots:
            return (("", None),)
        return [(slot.name, slot.key) for slot in self.slots if slot.key is not None]

    def why_absent(self) -> str:
        return "no key: " + "; ".join(slot.problem for slot in self.slots if slot.problem)

    def overdue(self, slot: Slot) -> bool:
        return slot.since is not None and self._now() - slot.since > self._rotation

    async def reload(self) -> bool:
        """Read every key again; whether any changed. A key that cannot be read (other than being gone) stays
        as it was."""
        fresh = [await self._read(slot) for slot in self.slots]
        changed = [new for new, old in zip(fresh, self.slots, strict=True) if new.key != old.key]
        self.slots = tuple(fresh)
        for slot in changed:
            version = slot.key.fingerprint if slot.key is not None else "none"
            log.info("key loaded", provider=self._provider, source=slot.name, version=version)
        return bool(changed)

    async def _read(self, slot: Slot) -> Slot:
        try:
            key = await self._source.get(slot.name)
        except SecretMissing as missing:
            return Slot(slot.name, problem=str(missing))
        except SecretInvalid as invalid:
            if slot.key is None:
                return Slot(slot.name, problem=str(invalid))
            log.warning("key cannot be read, the last one stays", provider=self._provider, source=slot.name)
            return slot
        return slot if key == slot.key else Slot(slot.name, key, self._now())
