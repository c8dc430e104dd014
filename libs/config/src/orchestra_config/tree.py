"""`Config`: one deployment, whole."""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field

from .deployment import Node, Placement
from .frozen import Frozen
from .model_entry import ModelEntry
from .money import Budget, Electricity, Price
from .phases import Phases
from .policies import Policies
from .providers import Provider
from .service_settings import Addresses, CacheSettings, LedgerSettings, Services

T = TypeVar("T", bound=Frozen)


class Config(Frozen):
    """Everything that `orchestra.yaml` says, checked and frozen. Absent sections are the paper's defaults."""

    name: str = Field(default="orchestra", description="of the deployment, in logs and traces")
    addresses: Addresses = Addresses()
    nodes: tuple[Node, ...] = ()
    models: tuple[ModelEntry, ...] = ()
    placements: tuple[Placement, ...] = ()
    phases: Phases = Phases()
    providers: tuple[Provider, ...] = ()
    prices: tuple[Price, ...] = Field(
        default=(), description="dated additions to the paper's price book; same key replaces"
    )
    budgets: tuple[Budget, ...] = ()
    policies: Policies = Policies()
    cache: CacheSettings = CacheSettings()
    ledger: LedgerSettings = LedgerSettings()
    electricity: Electricity = Electricity()
    services: Services = Services()

    def node(self, node_id: str) -> Node:
        """The node of that id; KeyError when there is none."""
        return _find(self.nodes, "id", node_id)

    def model(self, name: str) -> ModelEntry:
        """The model entry of that exact name; KeyError when the file has none (the catalogue may)."""
        return _find(self.models, "name", name)

    def provider(self, name: str) -> Provider:
        """The provider of that name; KeyError when there is none."""
        return _find(self.providers, "name", name)

    def placements_on(self, node_id: str) -> tuple[Placement, ...]:
        """What is wanted on that node, in the file's order."""
        return tuple(placement for placement in self.placements if placement.node == node_id)


def _find(entries: tuple[T, ...], key: str, value: str) -> T:
    for entry in entries:
        if getattr(entry, key) == value:
            return entry
    raise KeyError(value)
