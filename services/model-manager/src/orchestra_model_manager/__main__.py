"""`python -m orchestra_model_manager`: settings in, run, exit code out."""

from __future__ import annotations

import asyncio
import sys

from orchestra_config import ConfigError, load
from orchestra_errors import OrchestraError
from orchestra_model_manager.app import run
from orchestra_model_manager.config import Settings
from orchestra_rpc import PortInUse, SettingsError
from orchestra_telemetry import MetricsPortInUse, configure_logging


def main() -> int:
    """0 after a drain; 1 with one line per reason why it cannot start."""
    try:
        settings = Settings.from_environment()
        configure_logging("model-manager", format=settings.log_format, level=settings.log_level)
        asyncio.run(run(settings, load()))
    except (SettingsError, ConfigError, PortInUse, MetricsPortInUse, OrchestraError) as error:
        print(f"model-manager: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
