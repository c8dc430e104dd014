"""The engines by name. Only the one that is opened is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

from orchestra_errors import InvalidRequest, Violations
from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.adapters.llamacpp.entry import ENTRY as LLAMACPP
from orchestra_inference_node.ports import Engine, LoadSettings

ENGINES: Mapping[str, EngineEntry] = {
    "llamacpp": LLAMACPP,
}


def installed_engines() -> frozenset[str]:
    """Names of the engines whose packages are here. Imports none of them."""
    return frozenset(name for name, entry in ENGINES.items() if all(map(find_spec, entry.packages)))


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


def open_engine(engine: str, settings: LoadSettings) -> Engine:
    """Load a model; blocks until it is loaded. Raises InvalidRequest for an engine that is not there."""
    if engine not in installed_engines():
        raise InvalidRequest.of("spec.engine", f"{engine!r} is not installed here")
    module, _, name = ENGINES[engine].factory.partition(":")
    opened: Engine = getattr(import_module(module), name)(settings)
    return opened
