"""One deployment as one frozen, checked tree, and the paper's catalogue as data.

`load(path)` gives a `Config` or raises one `ConfigError` that names every mistake with its place.
`catalogue()` gives the models, phases, prices and policies of the paper; `merged(config)` lays the file
over it.
"""

from typing import TYPE_CHECKING, Any

from .deployment import Device, EngineKind, Hold, Node, Placement, PortRange
from .loading import CONFIG_VARIABLE, load, loads
from .model_entry import Capability, ModelEntry, Tier, TrainingUse
from .money import Budget, Electricity, Price, PriceStep
from .phases import Phase, PhaseGroup, Phases
from .policies import Objective, Policies, TierShare
from .problems import ConfigError, Problem
from .providers import Limits, Provider, ProviderKind
from .service_settings import Addresses, CacheSettings, LedgerSettings, Services
from .tree import Config

if TYPE_CHECKING:
    from .catalogue_types import CatalogueModel, Offer, Variant, Verdict
    from .lookup import Catalogue, UnknownName
    from .merging import merged
    from .paper_blocks import PaperBlocks, read_paper_blocks
    from .paper_data import catalogue

# A service that only wants its own settings does not pay for the catalogue.
_LATER = {
    "Catalogue": "lookup",
    "CatalogueModel": "catalogue_types",
    "Offer": "catalogue_types",
    "PaperBlocks": "paper_blocks",
    "UnknownName": "lookup",
    "Variant": "catalogue_types",
    "Verdict": "catalogue_types",
    "catalogue": "paper_data",
    "merged": "merging",
    "read_paper_blocks": "paper_blocks",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LATER[name]}", __name__), name)


__all__ = [
    "CONFIG_VARIABLE",
    "Addresses",
    "Budget",
    "CacheSettings",
    "Capability",
    "Catalogue",
    "CatalogueModel",
    "Config",
    "ConfigError",
    "Device",
    "Electricity",
    "EngineKind",
    "Hold",
    "LedgerSettings",
    "Limits",
    "ModelEntry",
    "Node",
    "Objective",
    "Offer",
    "PaperBlocks",
    "Phase",
    "PhaseGroup",
    "Phases",
    "Placement",
    "Policies",
    "PortRange",
    "Price",
    "PriceStep",
    "Problem",
    "Provider",
    "ProviderKind",
    "Services",
    "Tier",
    "TierShare",
    "TrainingUse",
    "UnknownName",
    "Variant",
    "Verdict",
    "catalogue",
    "load",
    "loads",
    "merged",
    "read_paper_blocks",
]
