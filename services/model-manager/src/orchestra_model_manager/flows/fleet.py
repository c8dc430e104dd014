"""What the deployment says about models and nodes, in the planner's and the nodes' words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestra_config import Catalogue, Config, Node, UnknownName
from orchestra_errors import NotFound
from orchestra_model_manager.domain.phases import PhasePlan, RotatingGroup
from orchestra_model_manager.domain.planning import Need
from orchestra_model_manager.domain.wishes import Wish
from orchestra_model_manager.ports import LoadOrder

ENGINE_OF_FORMAT = {"onnx": "encoder", "ctranslate2": "ctranslate2"}
"""Formats that one engine alone loads, whatever a node prefers."""


class Fleet:
    """Read-only; built once at start."""

    def __init__(self, config: Config, catalogue: Catalogue) -> None:
        self.config = config
        self.catalogue = catalogue
        self.nodes: Mapping[str, Node] = {node.id: node for node in config.nodes}
        self._placements = {(one.node, self.name(one.model)): one for one in config.placements}

    def name(self, name: str) -> str:
        """The name that a placement of this goes by. Raises NotFound with the nearest names."""
        try:
            model = self.catalogue.resolve(name)
        except UnknownName as unknown:
            raise NotFound("model", name, unknown.nearest) from None
        return model.entry.name if model.entry is not None else model.name

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """The deployment's own placements."""
        return tuple(
            Wish(model, node, one.devices, one.pinned) for (node, model), one in self._placements.items()
        )

    def need(self, name: str) -> Need:
        """What a model takes, and why it cannot be loaded where no weights are configured."""
        model = self.catalogue.resolve(name)
        entry = model.entry
        if entry is None or not entry.path:
            return Need(
                self.name(name),
                None,
                "no weights are configured for it: give it a path in the deployment's models",
            )
        return Need(entry.name, entry.vram_required or entry.size)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by model, where the deployment says them."""
        known = {entry.name: entry.vram_required or entry.size for entry in self.config.models}
        return {name: size for name, size in known.items() if size is not None}

    def order(self, name: str, node_id: str, device_ids: Iterable[str] = ()) -> LoadOrder:
        """What the node is told. The placement's own limits go before the model's, and its engine before the
        one that the model's format needs, before the node's."""
        entry = self.config.model(name)
        placement = self._placements.get((node_id, name))
        devices = tuple(device_ids) or (placement.devices if placement else ())
        stored_as = self.catalogue.resolve(name).stored_as
        only = ENGINE_OF_FORMAT.get(stored_as or "")
        engine = (placement.engine if placement else None) or only or self.nodes[node_id].engine
        # what only one engine loads has no chat template, unless somebody says so
        chat = entry.chat_template and (only is None or "chat_template" in entry.model_fields_set)
        options = {**entry.options, **(placement.options if placement else {})}
        context = placement.max_sequence_length if placement else None
        slots = placement.max_batch_size if placement else None
        return LoadOrder(
            model=name,
            path=entry.path,
            expected_revision=f"sha256:{entry.sha256}" if entry.sha256 else "",
            engine=engine,
            device_ids=devices,
            context_tokens=context or entry.context,
            slots=slots or entry.parallel,
            quantization=entry.quantization,
            chat=chat,
            options=tuple((key, str(value)) for key, value in options.items()),
        )

    def phase(self, name: str) -> PhasePlan:
        """A phase with every name resolved. Raises NotFound with the nearest names."""
        try:
            phase = self.catalogue.phase(name)
        except UnknownName as unknown:
            raise NotFound("phase", name, unknown.nearest or self.catalogue.phase_names) from None
        groups = tuple(
            RotatingGroup(group.role, self._names(group.always_loaded), self._names(group.rotation_pool))
            for group in phase.groups
        )
        interval = phase.rotation_hours * 3600 if phase.rotation_hours else None
        return PhasePlan(phase.name, phase.purpose, groups, interval)

    def _names(self, names: Iterable[str]) -> tuple[str, ...]:
        found = (model for name in names for model in self.catalogue.expand(name))
        return tuple(dict.fromkeys(model.entry.name if model.entry else model.name for model in found))

    def watts(self, node_id: str, device_ids: Iterable[str]) -> float | None:
        """Declared busy draw of the devices, else of the whole host; None when nobody says."""
        node = self.nodes.get(node_id)
        if node is None:
            return None
        wanted = set(device_ids)
        draws = [device.watts for device in node.usable if not wanted or device.id in wanted]
        known = [watts for watts in draws if watts is not None]
        return sum(known) if known and len(known) == len(draws) else node.watts
