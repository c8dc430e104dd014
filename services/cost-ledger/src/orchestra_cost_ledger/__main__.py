"""`python -m orchestra_cost_ledger`."""

from __future__ import annotations

import sys

from orchestra_config import ConfigError, load
from orchestra_rpc import run_service

from .app import run
from .config import Settings, UnusableStore

if __name__ == "__main__":
    sys.exit(
        run_service(
            "cost-ledger", Settings, lambda settings: run(settings, load()), (ConfigError, UnusableStore)
        )
    )
