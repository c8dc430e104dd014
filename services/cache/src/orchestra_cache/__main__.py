"""`python -m orchestra_cache`: settings in, run, exit code out."""

from __future__ import annotations

import asyncio
import sys

from orchestra_cache.app import run
from orchestra_cache.config import Settings, UnusableStore
from orchestra_config import ConfigError, load
from orchestra_rpc import PortInUse
from orchestra_telemetry import MetricsPortInUse, configure_logging


def main() -> int:
    settings = Settings()
    configure_logging("cache", format=settings.log_format, level=settings.log_level)
    try:
        asyncio.run(run(settings, load().cache))
    except (ConfigError, PortInUse, MetricsPortInUse, UnusableStore) as error:
        print(f"cache: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
