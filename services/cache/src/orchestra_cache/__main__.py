"""`python -m orchestra_cache`."""

from __future__ import annotations

import sys

from orchestra_config import ConfigError, load
from orchestra_rpc import run_service

from .app import run
from .config import Settings, UnusableStore

if __name__ == "__main__":
    sys.exit(
        run_service(
            "cache", Settings, lambda settings: run(settings, load().cache), (ConfigError, UnusableStore)
        )
    )
