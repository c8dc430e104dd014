"""`python -m orchestra_cloud_proxy`: settings in, run, exit code out."""

from __future__ import annotations

import asyncio
import sys

from orchestra_accounting import JournalLocked
from orchestra_cloud_proxy.app import run
from orchestra_cloud_proxy.config import Settings
from orchestra_config import ConfigError, load
from orchestra_errors import OrchestraError
from orchestra_rpc import PortInUse, SettingsError
from orchestra_telemetry import MetricsPortInUse, configure_logging


def main() -> int:
    """0 after a drain; 1 with one line per reason why it cannot start."""
    try:
        settings = Settings.from_environment()
        configure_logging("cloud-proxy", format=settings.log_format, level=settings.log_level)
        asyncio.run(run(settings, load()))
    except (SettingsError, ConfigError, PortInUse, MetricsPortInUse, JournalLocked, OrchestraError) as error:
        print(f"cloud-proxy: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cloud-proxy: the usage spool cannot be used: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
