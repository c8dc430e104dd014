"""`python -m orchestra_model_manager`."""

from __future__ import annotations

import sys

from orchestra_config import ConfigError, load
from orchestra_rpc import run_service

from .app import run
from .config import Settings

if __name__ == "__main__":
    sys.exit(run_service("model-manager", Settings, lambda settings: run(settings, load()), (ConfigError,)))
