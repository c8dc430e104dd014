"""The engines by name. Only the one that is opened is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from orchestra_errors import InvalidRequest, Violations
from orchestra_inference_node.ports import Engine, LoadSettings


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """`factory` is `module:class`; `package` must be installed; `options` are the engine's own, all
    numbers."""

    factory: str
    package: str
    options: frozenset[str]


ENGINES: Mapping[str, EngineEntry] = {
    "llamacpp": EngineEntry(
        "orchestra_inference_node.adapters.llamacpp_engine:LlamaCppEngine",
        "xllamacpp",
        frozenset({"threads", "batch_tokens"}),
    ),
}


def installed_engines() -> frozenset[str]:
    """Names of the engines whose package is here. Imports none of them."""
    return frozenset(name for name, entry in ENGINES.items() if find_spec(entry.package) is not None)


def check_options(engine: str, options: Mapping[str, str]) -> None:
    """Raises InvalidRequest naming every unknown option and every value that is no number of 1 or more."""
    found = Violations()
    known = ENGINES[engine].options
    for name, value in options.items():
        field = f"spec.engine_options[{name!r}]"
        if found.require(
            name in known, field, f"{engine} has no such option (it has {', '.join(sorted(known))})"
        ):
            found.require(
                value.isdecimal() and int(value) > 0, field, f"must be a whole number above 0, is {value!r}"
            )
    found.raise_if_any()


def open_engine(engine: str, settings: LoadSettings) -> Engine:
    """Load a model; blocks until it is loaded. Raises InvalidRequest for an engine that is not there."""
    if engine not in installed_engines():
        raise InvalidRequest.of("spec.engine", f"{engine!r} is not installed here")
    module, _, name = ENGINES[engine].factory.partition(":")
    opened: Engine = getattr(import_module(module), name)(settings)
    return opened
