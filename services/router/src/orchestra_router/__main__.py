"""`python -m orchestra_router`."""

from __future__ import annotations

import asyncio
import sys

from pydantic import ValidationError

from orchestra_accounting import JournalLocked
from orchestra_config import ConfigError, load
from orchestra_rpc import PortInUse
from orchestra_telemetry import MetricsPortInUse

from .app import run
from .config import Settings


def main() -> int:
    """Exit code 1 with one line for each thing that is wrong."""
    try:
        settings = Settings()
        asyncio.run(run(load(), settings))
    except (ConfigError, JournalLocked, MetricsPortInUse, PortInUse, ValidationError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
