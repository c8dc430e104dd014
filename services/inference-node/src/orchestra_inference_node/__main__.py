"""`python -m orchestra_inference_node`: settings in, run, exit code out."""

from __future__ import annotations

import asyncio
import sys

from pydantic import ValidationError

from orchestra_config import ConfigError
from orchestra_inference_node.app import run
from orchestra_inference_node.config import Settings, WrongNode, deployed
from orchestra_rpc import PortInUse
from orchestra_telemetry import MetricsPortInUse, configure_logging


def main() -> int:
    try:
        settings = Settings()
        here = deployed(settings)
        configure_logging("inference-node", settings.log_format, settings.log_level, instance=here.node.id)
        asyncio.run(run(settings, here))
    except (ConfigError, WrongNode, PortInUse, MetricsPortInUse, ValidationError, ValueError) as error:
        print(f"inference-node: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
