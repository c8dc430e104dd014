"""`python -m orchestra_cloud_proxy`."""

from __future__ import annotations

import sys

from orchestra_accounting import JournalLocked
from orchestra_config import ConfigError, load
from orchestra_rpc import run_service

from .app import run
from .config import Settings

if __name__ == "__main__":
    sys.exit(
        run_service(
            "cloud-proxy", Settings, lambda settings: run(settings, load()), (ConfigError, JournalLocked)
        )
    )
