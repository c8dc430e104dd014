"""The catalogue with a deployment's own models, phases, prices and providers laid over it."""

from __future__ import annotations

from dataclasses import replace

from .catalogue_types import CatalogueModel, Variant
from .lookup import Catalogue
from .model_entry import ModelEntry
from .money import Price
from .paper_data import catalogue
from .tree import Config

_OF_MODEL = ("family", "context", "specialities", "training_use")
_OF_VARIANT = ("quantization", "size", "vram_required", "storage_tier", "tokens_per_s")


def merged(config: Config) -> Catalogue:
    """The paper's catalogue overlaid by `orchestra.yaml`.

    A model entry adds a model, or overrides the fields that it sets; phases replace by name; a price replaces
    that of its provider and model; a provider replaces by name.
    """
    paper = catalogue()
    models = {model.name: model for model in paper.models}
    for entry in config.models:
        target = paper.resolve(entry.name).name if _known(paper, entry.name) else entry.name
        models[target] = _overridden(models[target], entry) if target in models else _added(entry)
    phases = {phase.name: phase for phase in (*paper.phases, *config.phases.define)}
    overlaid = replace(paper, models=tuple(models.values()), phases=tuple(phases.values()))
    prices = {(price.provider, price.model): price for price in paper.prices}
    for price in config.prices:
        canonical = overlaid.resolve(price.model).name
        prices[price.provider, canonical] = _renamed(price, canonical)
    providers = {provider.name: provider for provider in (*paper.providers, *config.providers)}
    return replace(overlaid, prices=tuple(prices.values()), providers=tuple(providers.values()))


def _known(paper: Catalogue, name: str) -> bool:
    return name in paper.names and name not in paper.groups


def _renamed(price: Price, model: str) -> Price:
    return price.model_copy(update={"model": model})


def _added(entry: ModelEntry) -> CatalogueModel:
    variant = Variant(name=entry.name, **{key: getattr(entry, key) for key in _OF_VARIANT})
    return CatalogueModel(
        name=entry.name,
        family=entry.family or entry.name,
        specialities=entry.specialities,
        context=entry.context,
        training_use=entry.training_use,
        variants=(variant,),
        entry=entry,
    )


def _overridden(model: CatalogueModel, entry: ModelEntry) -> CatalogueModel:
    said = entry.model_fields_set
    of_variant = {key: getattr(entry, key) for key in _OF_VARIANT if key in said}
    named = entry.name if any(one.name == entry.name for one in model.variants) else None
    variants = tuple(
        one.model_copy(update=of_variant) if one.name == (named or model.variants[0].name) else one
        for one in model.variants
    )
    if not variants and (entry.path or entry.package):
        variants = (Variant(name=f"{model.name}-local", **of_variant),)
    update = {key: getattr(entry, key) for key in _OF_MODEL if key in said}
    return model.model_copy(update={**update, "variants": variants, "entry": entry})
