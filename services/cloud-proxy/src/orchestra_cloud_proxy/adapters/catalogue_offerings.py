"""The models that the deployment's providers offer, from the catalogue and the configuration."""

from __future__ import annotations

from collections.abc import Iterator

from orchestra_cloud_proxy.domain.offerings import Offering, Offerings
from orchestra_config import Catalogue, CatalogueModel, Config, Provider, UnknownName, merged

_TIERS = {"local": "local", "together": "selective", "premium": "premium"}
_CHAT = frozenset({"chat", "logprobs", "seed", "tools", "json_schema"})
_ABILITIES = {"openai": _CHAT, "together": _CHAT, "anthropic": frozenset({"chat", "tools"})}
"""What a model of each kind of provider can do when its entry does not say."""


def offerings_of(config: Config) -> Offerings:
    """One for each model that a configured provider offers, in the order of the providers."""
    if not config.providers:
        return Offerings()
    catalogue = merged(config)
    return Offerings([one for provider in config.providers for one in _offered(provider, catalogue)])


def _offered(provider: Provider, catalogue: Catalogue) -> Iterator[Offering]:
    given = {_canonical(catalogue, name): provider_id for name, provider_id in provider.models.items()}
    for model in catalogue.models:
        offer = model.offer(provider.name)
        provider_id = given.pop(model.name, "") or (offer.provider_id if offer is not None else "")
        if provider_id:
            aliases = [alias for alias, name in catalogue.aliases.items() if name == model.name]
            yield Offering(
                model=model.name,
                provider=provider.name,
                kind=provider.kind,
                provider_model=provider_id,
                tier=_TIERS[provider.tier],
                abilities=_abilities(model, provider.kind),
                aliases=tuple(aliases),
            )


def _canonical(catalogue: Catalogue, name: str) -> str:
    try:
        return catalogue.resolve(name).name
    except UnknownName:
        return name


def _abilities(model: CatalogueModel, kind: str) -> frozenset[str]:
    declared = model.entry.capabilities if model.entry is not None else ()
    if not declared:
        return _ABILITIES.get(kind, _CHAT)
    # a server that offers chat holds answers to a schema, too; no vendor's API has a field for grammars
    return frozenset(declared) - {"grammar"} | ({"json_schema"} if "chat" in declared else set())
