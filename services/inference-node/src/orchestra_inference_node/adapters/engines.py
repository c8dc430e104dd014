"""The engines by name. Only the one that is opened is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from orchestra_errors import InvalidRequest, Violations
from orchestra_inference_node.adapters.encoder.entry import ENTRY as ENCODER
from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.adapters.exllamav2.entry import ENTRY as EXLLAMAV2
from orchestra_inference_node.adapters.llamacpp.entry import ENTRY as LLAMACPP
from orchestra_inference_node.adapters.openai_server.entry import ENTRY as OPENAI_SERVER
from orchestra_inference_node.adapters.simulated.entry import ENTRY as SIMULATED
from orchestra_inference_node.domain.devices import EngineUse
from orchestra_inference_node.ports import Engine, LoadSettings, ModelFiles

ENGINES: Mapping[str, EngineEntry] = {
    "exllamav2": EXLLAMAV2,
    "llamacpp": LLAMACPP,
    "openai-server": OPENAI_SERVER,
    "encoder": ENCODER,
    "simulated": SIMULATED,
}
_PAGED_ATTENTION = "flash_attn"


def installed_engines() -> frozenset[str]:
    """Names of the engines whose packages are here. Imports none of them."""
    return frozenset(name for name, entry in ENGINES.items() if all(map(find_spec, entry.packages)))


def engine_uses() -> dict[str, EngineUse]:
    """What each engine loads and where, and what it misses here. Imports none of them."""
    paged = find_spec(_PAGED_ATTENTION) is not None
    return {
        name: EngineUse(
            entry.formats,
            entry.device_kinds,
            tuple(package for package in entry.packages if find_spec(package) is None),
            splits=entry.splits,
            paged=paged,
        )
        for name, entry in ENGINES.items()
    }


def check_options(engine: str, options: Mapping[str, str]) -> None:
    """Raises InvalidRequest naming every unknown option and every wrong value."""
    found = Violations()
    known = ENGINES[engine].options
    has = f"it has {', '.join(sorted(known))}" if known else "it has none"
    for name, value in options.items():
        field = f"spec.engine_options[{name!r}]"
        if found.require(name in known, field, f"{engine} has no such option ({has})"):
            amiss = known[name].amiss(value)
            found.require(not amiss, field, amiss)
    found.raise_if_any()


def inspect_files(engine: str, path: str, options: Mapping[str, str]) -> ModelFiles:
    """What the engine would load from `path`; see `ports.Inspect`."""
    files: ModelFiles = _named(ENGINES[engine].inspect)(path, options)
    return files


def memory_needed(engine: str, settings: LoadSettings) -> int | None:
    """Bytes that loading takes on the devices; None where the engine cannot say before."""
    name = ENGINES[engine].memory
    needed: int | None = _named(name)(settings) if name else None
    return needed


def open_engine(engine: str, settings: LoadSettings) -> Engine:
    """Load a model; blocks until it is loaded.

    Raises InvalidRequest for an engine that is not there, InsufficientMemory.
    """
    if engine not in installed_engines():
        raise InvalidRequest.of("spec.engine", f"{engine!r} is not installed here")
    opened: Engine = _named(ENGINES[engine].factory)(settings)
    return opened


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
