"""A service's process from its environment to its exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from orchestra_errors import OrchestraError
from orchestra_rpc.server import PortInUse
from orchestra_rpc.service_settings import ServiceSettings, SettingsError
from orchestra_telemetry import MetricsPortInUse, configure_logging

S = TypeVar("S", bound=ServiceSettings)


def run_service(
    service: str,
    settings_type: type[S],
    start: Callable[[S], Coroutine[Any, Any, None]],
    refusals: tuple[type[Exception], ...] = (),
) -> int:
    """Settings in, run, exit code out: 0 after a drain, 1 with one line per reason why it cannot start.

    `refusals` are the service's own errors whose text is for whoever starts it; anything else is a mistake of
    ours and shows its traceback.
    """
    told: tuple[type[Exception], ...] = (
        SettingsError,
        PortInUse,
        MetricsPortInUse,
        OrchestraError,
        *refusals,
    )
    try:
        settings = settings_type.from_environment()
        configure_logging(service, format=settings.log_format, level=settings.log_level)
        asyncio.run(start(settings))
    except told as error:
        for line in str(error).splitlines():
            print(f"{service}: {line}", file=sys.stderr)
        return 1
    except OSError as error:
        # a folder that cannot be written, a file that is another program's
        print(f"{service}: {error}", file=sys.stderr)
        return 1
    return 0
