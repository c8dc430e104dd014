"""One deployment as one frozen, checked tree, and the paper's catalogue as data.

`load(path)` gives a `Config` or raises one `ConfigError` that names every mistake with its place.
`catalogue()` gives the models, phases, prices and policies of the paper; `merged(config)` lays the file
over it.
"""

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

__all__ = [
    "CONFIG_VARIABLE",
    "Addresses",
    "Budget",
    "CacheSettings",
    "Capability",
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
    "load",
    "loads",
]
