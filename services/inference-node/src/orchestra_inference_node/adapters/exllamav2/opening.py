"""The first step in a worker: what must be so before torch and exllamav2 are imported."""

from __future__ import annotations

import os
from importlib import import_module

from orchestra_errors import FailedPrecondition
from orchestra_inference_node.ports import Engine, LoadSettings


def open_model(settings: LoadSettings) -> Engine:
    """Load a model; see `EngineEntry.factory`. For a process of its own: the devices that it sees are those
    of the settings, in their order, counted as the driver counts them."""
    ordinals = [device.index for device in settings.devices]
    if ordinals:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(one) for one in ordinals if one is not None)
    try:
        package = import_module("orchestra_inference_node.adapters.exllamav2.engine")
    except (ImportError, OSError, RuntimeError) as error:
        # its CUDA part is compiled at the first import
        raise FailedPrecondition("the installed exllamav2", f"it cannot be imported: {error}") from error
    engine: Engine = package.ExLlamaV2Engine(settings)
    return engine
