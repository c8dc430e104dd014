"""Which models are offered, by which provider, under which id and with which abilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from orchestra_errors import NotFound


@dataclass(frozen=True, slots=True)
class Offering:
    """One model at one provider. `abilities`: chat, completion, logprobs, seed, tools, json_schema, image,
    embed. `tier` is local, selective or premium."""

    model: str
    provider: str
    kind: str
    provider_model: str
    tier: str
    abilities: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return (self.provider, self.model)


@dataclass(frozen=True, slots=True)
class Offerings:
    """All of them, in the order of the configuration's providers."""

    all: Sequence[Offering] = ()

    def find(self, name: str) -> Offering:
        """The first provider's offering of a model (or alias); `provider/model` names the provider, too.

        Raises NotFound with the nearest offered names.
        """
        for offering in self.all:
            if name in (offering.model, *offering.aliases):
                return offering
        for offering in self.all:
            if name == f"{offering.provider}/{offering.model}":
                return offering
        offered = sorted({name for one in self.all for name in (one.model, *one.aliases)})
        raise NotFound("cloud model", name, get_close_matches(name, offered, n=3))

    def of(self, provider: str) -> tuple[Offering, ...]:
        return tuple(one for one in self.all if one.provider == provider)
