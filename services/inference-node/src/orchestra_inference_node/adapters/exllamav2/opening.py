"""The first step in a worker: what must be so before torch and exllamav2 are imported."""

from __future__ import annotations

from importlib import import_module

from orchestra_errors import FailedPrecondition
from orchestra_inference_node.ports import Engine, LoadSettings


def open_model(settings: LoadSettings) -> Engine:
    """Load a model; see `EngineEntry.factory`. The process was started so that it sees the devices of the
    settings alone, in their order."""
    try:
        package = import_module("orchestra_inference_node.adapters.exllamav2.engine")
    except (ImportError, OSError, RuntimeError) as error:
        # its CUDA part is compiled at the first import
        raise FailedPrecondition("the installed exllamav2", f"it cannot be imported: {error}") from error
    engine: Engine = package.ExLlamaV2Engine(settings)
    return engine
