"""Settings from the environment; read once, frozen. The deployment itself is in `orchestra.yaml`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from orchestra_rpc import Port, ServiceSettings


class Settings(ServiceSettings):
    """`state_dir` holds the usage spool and belongs to this process alone."""

    listen: str = "127.0.0.1:50054"
    metrics_port: Port = 51054
    state_dir: Path = Path(".orchestra/cloud-proxy")
    secrets_dir: Path = Path("/run/secrets")
    """One file per secret, looked into after the environment."""
    key_check_s: float = Field(default=60.0, gt=0)
    """How often keys are read again, so that a rotated one is noticed."""
    price_refresh_s: float = Field(default=60.0, gt=0)
    heartbeat_s: float = Field(default=5.0, gt=0)
    """The longest silence of a stream while a provider says nothing."""
    idle_s: float = Field(default=120.0, gt=0)
    """The longest silence of a provider that has begun to answer."""
