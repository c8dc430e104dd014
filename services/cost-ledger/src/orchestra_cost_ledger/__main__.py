"""`python -m orchestra_cost_ledger`: settings in, run, exit code out."""

from __future__ import annotations

import asyncio
import sys

from orchestra_config import ConfigError, load
from orchestra_cost_ledger.app import run
from orchestra_cost_ledger.config import Settings, UnusableStore
from orchestra_rpc import PortInUse, SettingsError
from orchestra_telemetry import MetricsPortInUse, configure_logging


def main() -> int:
    try:
        settings = Settings.from_environment()
        configure_logging("cost-ledger", format=settings.log_format, level=settings.log_level)
        asyncio.run(run(settings, load()))
    except (SettingsError, ConfigError, UnusableStore, PortInUse, MetricsPortInUse) as error:
        print(f"cost-ledger: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
