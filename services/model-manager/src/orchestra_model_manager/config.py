"""Settings from the environment; read once, frozen. The deployment itself is in `orchestra.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables with the prefix `ORCHESTRA_`, for example `ORCHESTRA_LISTEN`."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRA_", frozen=True, extra="ignore")

    listen: str = "127.0.0.1:50051"
    """host:port; port 0 lets the system choose."""
    metrics_port: int = Field(default=51051, ge=0, le=65535)
    """0: no metrics."""
    state_dir: Path = Path(".orchestra/model-manager")
    """Holds the phase, the rotation's position, swaps and holds."""
    otlp_endpoint: str = ""
    """Empty: spans are not exported."""
    log_format: Literal["json", "console"] = "json"
    log_level: str = "info"
    drain_s: float = Field(default=5.0, ge=0)
