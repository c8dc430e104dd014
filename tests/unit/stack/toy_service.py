"""A process that behaves as a service at start and stop: health, SIGTERM, and faults on wish."""

import asyncio
import os
import signal
import subprocess
import sys

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


async def main() -> int:
    fault = os.environ.get("TOY_FAULT", "")
    if fault == "ends":
        print("the toy cannot start: no toys left", file=sys.stderr)
        return 3
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    serving = health_pb2.HealthCheckResponse.SERVING
    not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
    await servicer.set(os.environ["TOY_HEALTH"], not_serving if fault == "sick" else serving)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(os.environ["ORCHESTRA_LISTEN"])
    if fault == "child":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    await server.start()
    told = asyncio.Event()
    if fault != "deaf":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    await told.wait()
    await server.stop(0)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
