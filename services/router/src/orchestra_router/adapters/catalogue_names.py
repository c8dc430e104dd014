"""The deployment's catalogue: what names stand for, and which cloud models it offers."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from orchestra_config import Catalogue, CatalogueModel, Config, Offer, UnknownName, merged
from orchestra_config import Verdict as Rule

from ..domain.targets import LOCAL, Abilities, ModelFacts, Target, Verdict
from ..ports import Named, Unknown

_TIERS = {"local": LOCAL, "together": "selective", "premium": "premium"}
# rows of the paper's matrix that speak of a request type; the first holds for requests without one
_ROWS = {"": "reasoning", "reasoning": "reasoning", "code_generation": "coding", "mathematics": "reasoning"}


class CatalogueNames:
    """Read once from the configuration; implements the port Names."""

    def __init__(self, config: Config) -> None:
        self._catalogue: Catalogue = merged(config)
        self._config = config
        self._variants = {
            variant.name: model.name for model in self._catalogue.models for variant in model.variants
        }
        self._models = {model.name: self._facts(model) for model in self._catalogue.models}
        self.cloud_targets = tuple(self._cloud_targets())
        """One for each model that a configured provider offers."""

    @property
    def models(self) -> Mapping[str, ModelFacts]:
        return self._models

    def model(self, name: str) -> Named | Unknown:
        try:
            found = self._catalogue.expand(name)
        except UnknownName as unknown:
            return Unknown(name, unknown.nearest)
        of_variant = self._variants.get(name)
        variant = name if of_variant is not None and of_variant != name else ""
        return Named(tuple(model.name for model in found), variant)

    def phase(self, name: str) -> str | Unknown:
        known = self._catalogue.phase_names
        if name in known:
            return name
        try:
            return self._catalogue.phase(name).name
        except UnknownName as unknown:
            return Unknown(name, unknown.nearest or tuple(get_close_matches(name, known)))

    def canonical(self, name: str) -> str:
        """The model's name behind what a node calls it; the name itself when the catalogue does not know
        it."""
        found = self.model(name)
        return name if isinstance(found, Unknown) or len(found.models) != 1 else found.models[0]

    def _facts(self, model: CatalogueModel) -> ModelFacts:
        tiers = tuple(_TIERS[tier] for tier in model.tiers)
        provider = LOCAL if model.variants or not model.offers else model.offers[0].provider
        quality = {
            kind: grade for kind, row in _ROWS.items() if (grade := self._grade(model.name, row)) is not None
        }
        return ModelFacts(
            name=model.name,
            aliases=tuple(alias for alias, name in self._catalogue.aliases.items() if name == model.name),
            family=model.family,
            tier=tiers[0] if tiers else LOCAL,
            provider=provider,
            specialities=frozenset(model.specialities),
            context_tokens=model.context,
            quality=quality,
            quality_source="ordinals of the paper's section 8.0" if quality else "",
        )

    def _grade(self, model: str, row: str) -> int | None:
        try:
            return self._catalogue.grade(model, row)
        except UnknownName:
            return None

    def _cloud_targets(self) -> list[Target]:
        """Of every provider that the deployment configures; the catalogue's others are only known."""
        targets = []
        for provider in self._config.providers:
            for model in self._catalogue.models:
                offer = model.offer(provider.name)
                given = provider.models.get(model.name)
                if offer is None and given is None:
                    continue
                targets.append(
                    Target(
                        model=model.name,
                        provider=provider.name,
                        tier=_TIERS[provider.tier],
                        abilities=Abilities(context_tokens=model.context, known=False),
                        revision=given or (offer.provider_id if offer else ""),
                        verdict=self._verdict(offer),
                    )
                )
        return targets

    def _verdict(self, offer: Offer | None) -> Verdict:
        if offer is None or offer.verdict is None:
            return Verdict()
        rule: Rule = self._catalogue.verdict(offer.verdict)
        of_phase = rule.of if rule.of in self._catalogue.phase_names else ""
        return Verdict(
            name=rule.name,
            rule=rule.rule,
            chosen=rule.chosen,
            needs_flag=rule.needs == "allow_eliminated",
            fallback=rule.fallback,
            only_validation=rule.of == "validation",
            only_phase=of_phase,
            only_complex=rule.only_complex,
            needs_price=rule.needs_price,
            only_missing_capability=rule.only_missing_capability,
            above_prompt_tokens=rule.above_prompt_tokens,
        )
