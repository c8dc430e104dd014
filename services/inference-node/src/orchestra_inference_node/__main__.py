"""`python -m orchestra_inference_node`."""

from __future__ import annotations

import sys

from orchestra_config import ConfigError
from orchestra_rpc import run_service

from .adapters.nvml import Nvml
from .app import run
from .config import Settings, WrongNode, deployed

if __name__ == "__main__":
    sys.exit(
        run_service(
            "inference-node",
            Settings,
            lambda settings: run(settings, deployed(settings, Nvml().cards)),
            (ConfigError, WrongNode),
        )
    )
