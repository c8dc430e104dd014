"""What one part of the file says of another: names that lead nowhere, ids given twice, ports wanted twice.

Works on the plain data and looks past values of a wrong shape, so that these mistakes are named together with
the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeGuard

from .problems import Path, did_you_mean
from .yaml_source import Document

Known = Callable[[], Iterable[str]]
Resolves = Callable[[str], bool]


def check_references(
    document: Document, *, resolves: Resolves, catalogue_names: Known, catalogue_phases: Known
) -> None:
    """Add a problem for every dangling reference and every duplicate.

    `resolves(name)` says whether the catalogue knows a model name or alias; the others list its names.
    """
    if isinstance(document.data, dict):
        _References(document, resolves, catalogue_names, catalogue_phases).check()


class _References:
    def __init__(self, document: Document, resolves: Resolves, names: Known, phases: Known) -> None:
        self._document = document
        self._resolves = resolves
        self._catalogue_names = names
        self._catalogue_phases = phases
        self._own_models = {text for _, text in self._column("models", "name")}

    def check(self) -> None:
        for section, key in (("nodes", "id"), ("models", "name"), ("providers", "name"), ("budgets", "name")):
            self._no_duplicates(self._column(section, key), "is already used by another entry")
        for path, node in self._entries(("nodes",)):
            self._check_node(path, node)
        self._check_ports()
        self._check_placements()
        self._check_phases()
        self._check_money()
        self._check_policies()

    def _check_node(self, path: Path, node: dict[str, Any]) -> None:
        devices = [
            (at, device["id"])
            for at, device in self._entries((*path, "devices"))
            if _is_name(device.get("id"))
        ]
        self._no_duplicates([((*at, "id"), name) for at, name in devices], "is already a device of this node")
        known = {name for _, name in devices}
        for at, name in self._texts((*path, "reserved")):
            self._expect(at, name, known, "device of this node")
        for hold_path, _ in self._entries((*path, "holds")):
            for at, name in self._texts((*hold_path, "devices")):
                self._expect(at, name, known, "device of this node")

    def _check_ports(self) -> None:
        taken: dict[tuple[str, int], str] = {}
        addresses = self._document.data.get("addresses")
        named = [
            (("addresses", key), value)
            for key, value in (addresses if isinstance(addresses, dict) else {}).items()
        ]
        for path, address in [*named, *self._column("nodes", "address")]:
            host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
            if not port.isdigit() or (path[0] == "addresses" and path in self._document.unreadable):
                continue
            key = (host.replace("localhost", "127.0.0.1"), int(port))
            if key in taken:
                self._document.report(path, f"{address} is already the address of {taken[key]}")
            taken.setdefault(key, str(path[-1]) if path[0] == "addresses" else f"nodes[{path[1]}]")
        self._check_ranges(taken)

    def _check_ranges(self, taken: dict[tuple[str, int], str]) -> None:
        ranges: list[tuple[str, int, int, str]] = []
        for path, node in self._entries(("nodes",)):
            text, address = node.get("worker_ports", "50100-50199"), node.get("address")
            first, _, last = str(text).partition("-")
            if not (isinstance(address, str) and first.strip().isdigit() and last.strip().isdigit()):
                continue
            host = address.rpartition(":")[0].replace("localhost", "127.0.0.1")
            low, high, at = int(first), int(last), (*path, "worker_ports")
            for (other_host, port), owner in taken.items():
                if other_host == host and low <= port <= high:
                    self._document.report(at, f"{text} holds port {port} of {owner}")
            for other_host, other_low, other_high, other in ranges:
                if other_host == host and low <= other_high and other_low <= high:
                    self._document.report(at, f"{text} overlaps the worker ports of {other} on the same host")
            ranges.append((host, low, high, f"node {node.get('id', path[1])}"))

    def _check_placements(self) -> None:
        nodes = {name for _, name in self._column("nodes", "id")}
        seen: dict[tuple[str, str], Path] = {}
        for path, placement in self._entries(("placements",)):
            model, node = placement.get("model"), placement.get("node")
            if _is_name(model):
                self._expect_model((*path, "model"), model)
            if not _is_name(node):
                continue
            if self._expect((*path, "node"), node, nodes, "node"):
                devices, reserved = self._devices_of(node)
                for at, device in self._texts((*path, "devices")):
                    if self._expect(at, device, devices, f"device of node {node}") and device in reserved:
                        self._document.report(at, f"device {device} of node {node} is reserved")
            if _is_name(model) and (model, node) in seen:
                self._document.report(path, f"{model} is already placed on {node}")
            seen[(str(model), node)] = path

    def _devices_of(self, node_id: str) -> tuple[set[str], set[str]]:
        for path, node in self._entries(("nodes",)):
            if node.get("id") == node_id:
                ids = (device.get("id") for _, device in self._entries((*path, "devices")))
                return {name for name in ids if _is_name(name)}, {
                    text for _, text in self._texts((*path, "reserved"))
                }
        return set(), set()

    def _check_phases(self) -> None:
        own = [
            ((*path, "name"), phase["name"])
            for path, phase in self._entries(("phases", "define"))
            if _is_name(phase.get("name"))
        ]
        self._no_duplicates(own, "is already defined")
        phases = {name for _, name in own}
        for path, _ in self._entries(("phases", "define")):
            for group, _ in self._entries((*path, "groups")):
                for key in ("always_loaded", "rotation_pool"):
                    for at, name in self._texts((*group, key)):
                        self._expect_model(at, name)
        section = self._document.data.get("phases")
        start = section.get("start") if isinstance(section, dict) else None
        if _is_name(start):
            self._expect_phase(("phases", "start"), start, phases)
        for path, name in self._column("budgets", "phase"):
            self._expect_phase(path, name, phases)

    def _check_money(self) -> None:
        for path, _ in self._entries(("providers",)):
            at = self._document.data["providers"][path[1]].get("models")
            for name in at if isinstance(at, dict) else ():
                self._expect_model((*path, "models", str(name)), str(name))
        providers = {name for _, name in self._column("providers", "name")}
        for section in ("prices", "budgets"):
            for path, name in self._column(section, "provider"):
                if providers or section == "budgets":
                    self._expect(path, name, providers, "provider")
        for path, name in self._column("prices", "model"):
            self._expect_model(path, name)
        for path, budget in self._entries(("budgets",)):
            if budget.get("soft") is None and budget.get("hard") is None:
                self._document.report(path, "needs a soft or a hard limit")

    def _check_policies(self) -> None:
        for path, name in self._texts(("policies", "fallback_chain")):
            self._expect_model(path, name)

    def _expect(self, path: Path, name: str, known: Iterable[str], what: str) -> bool:
        known = set(known)
        if name not in known:
            self._document.report(path, f"there is no {what} {name!r}{did_you_mean(name, known)}")
        return name in known

    def _expect_model(self, path: Path, name: str) -> None:
        if name not in self._own_models and not self._resolves(name):
            near = did_you_mean(name, {*self._own_models, *self._catalogue_names()})
            self._document.report(
                path, f"there is no model {name!r}, neither in models nor in the catalogue{near}"
            )

    def _expect_phase(self, path: Path, name: str, own: set[str]) -> None:
        if name not in own:
            self._expect(path, name, {*own, *self._catalogue_phases()}, "phase")

    def _no_duplicates(self, named: Iterable[tuple[Path, str]], message: str) -> None:
        seen: set[str] = set()
        for path, name in named:
            if name in seen:
                self._document.report(path, f"{name!r} {message}")
            seen.add(name)

    def _at(self, path: Path) -> Any:
        value = self._document.data
        for step in path:
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    def _entries(self, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        value = self._at(path)
        for index, entry in enumerate(value if isinstance(value, list) else ()):
            if isinstance(entry, dict):
                yield (*path, index), entry

    def _texts(self, path: Path) -> Iterator[tuple[Path, str]]:
        value = self._at(path)
        for index, entry in enumerate(value if isinstance(value, list) else ()):
            if _is_name(entry):
                yield (*path, index), entry

    def _column(self, section: str, key: str) -> list[tuple[Path, str]]:
        return [
            ((*path, key), entry[key])
            for path, entry in self._entries((section,))
            if _is_name(entry.get(key))
        ]


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value)
