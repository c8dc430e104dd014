"""`python -m orchestra_inference_node.worker REPORT_FD`, with the order as the first line of stdin."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Literal, cast

import structlog
import uvloop

from orchestra_errors import OrchestraError
from orchestra_inference_node.adapters.engines import open_engine
from orchestra_inference_node.worker.app import run_worker
from orchestra_inference_node.worker.last_words import kept_errors, last_words
from orchestra_inference_node.worker.link import Reports, die_with_parent, read_line
from orchestra_inference_node.worker.order import Order
from orchestra_rpc import PortInUse
from orchestra_telemetry import configure_logging


def main() -> int:
    line = read_line()
    if not line:
        return 1
    order = Order.read(line)
    die_with_parent(order.parent)
    reports = Reports(int(sys.argv[1]))
    log_format = cast(Literal["json", "console"], order.log_format)
    configure_logging("inference-node-worker", log_format, order.log_level, instance=order.instance_id)
    scratch = Path(order.scratch)
    reports.send("loading")
    try:
        with kept_errors(scratch):
            engine = open_engine(
                order.engine, order.load_settings(lambda moved: reports.send("moved", **asdict(moved)))
            )
        # a fifth less time per token than asyncio's own loop, on cores that the engine wants for itself
        return uvloop.run(run_worker(order, engine, reports))
    except OrchestraError as error:
        fields = [(one.field, one.description) for one in error.violations]
        kind = {
            "reason": error.reason,
            "metadata": error.metadata,
            "fields": fields,
            "code": error.status_code,
        }
        reports.send("failed", why=error.message, kind=kind)
    except PortInUse as error:
        reports.send("failed", why=str(error))
    except Exception as error:
        structlog.get_logger().exception("load failed")
        # some have no text, such as MemoryError, and some keep their reasons for standard error
        said = [type(error).__name__, str(error), last_words(scratch)]
        reports.send("failed", why=": ".join(filter(None, said)))
    return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # the engine's own threads need no farewell: the system takes the memory back
    os._exit(code)
