"""The engines by name. Only the one that is opened is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import structlog

from orchestra_errors import InvalidRequest, Violations
from orchestra_inference_node.adapters.ctranslate2.entry import ENTRY as CTRANSLATE2
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
    "ctranslate2": CTRANSLATE2,
    "simulated": SIMULATED,
}
PRETENDING_ENGINES = frozenset({"simulated"})
"""Those that compute nothing and hold no weights."""
# it loads the driver
_ASK_S = 60.0
log = structlog.get_logger()
_PAGED_ATTENTION = "flash_attn"


def installed_engines() -> frozenset[str]:
    """Names of the engines whose packages are here. Imports none of them."""
    return frozenset(name for name, entry in ENGINES.items() if all(map(find_spec, entry.packages)))


def engine_uses(cards: Mapping[str, str] | None = None) -> dict[str, EngineUse]:
    """What each engine loads and where, and what it misses here. Imports none of them.

    `cards` is the environment in which a process sees the cards that models may use: packages are then asked
    whether they see them too, each in a process of its own, which takes seconds. None: there are none.
    """
    paged = find_spec(_PAGED_ATTENTION) is not None
    return {
        name: EngineUse(
            entry.formats,
            entry.device_kinds if cards is None else kinds_here(entry, cards),
            tuple(package for package in entry.packages if find_spec(package) is None),
            splits=entry.splits,
            paged=paged,
        )
        for name, entry in ENGINES.items()
    }


def kinds_here(entry: EngineEntry, cards: Mapping[str, str]) -> frozenset[str]:
    """The kinds of device that an engine computes on here; all that it could where nobody can say."""
    if not entry.kinds or not all(map(find_spec, entry.packages)):
        return entry.device_kinds
    command = [sys.executable, "-m", entry.kinds]
    env = {**os.environ, **cards}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_ASK_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("an engine does not say what it computes on", because=str(error))
        return entry.device_kinds
    return entry.device_kinds & set(done.stdout.split())


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
