"""Settings from the environment; read once, frozen. The deployment itself is in `orchestra.yaml`."""

from __future__ import annotations

from pathlib import Path

from orchestra_rpc import Port, Seconds, ServiceSettings


class Settings(ServiceSettings):
    """`state_dir` holds the phase, the rotation's position, swaps and holds."""

    listen: str = "127.0.0.1:50051"
    metrics_port: Port = 51051
    state_dir: Path = Path(".orchestra/model-manager")
    drain_s: Seconds = 5.0
