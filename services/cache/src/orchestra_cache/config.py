"""Settings from the environment; read once, frozen. The deployment itself is in `orchestra.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables with the prefix `ORCHESTRA_`, for example `ORCHESTRA_LISTEN`."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRA_", frozen=True, extra="ignore")

    listen: str = "127.0.0.1:50052"
    """host:port; port 0 lets the system choose."""
    metrics_port: int = Field(default=51052, ge=0, le=65535)
    """0: no metrics."""
    state_dir: Path = Path(".orchestra/cache")
    """The embedded store keeps its snapshot, log and socket here."""
    otlp_endpoint: str = ""
    """Empty: spans are not exported."""
    log_format: Literal["json", "console"] = "json"
    log_level: str = "info"
    drain_s: float = Field(default=5.0, ge=0)

    store_timeout_s: float = Field(default=1.0, gt=0)
    """The most that one command may take at the store."""
    store_share: float = Field(default=0.5, gt=0, le=0.95)
    """The embedded store never takes more than this share of the machine's memory, whatever `cache.max_bytes`
    says."""
    lease_s: float = Field(default=30.0, gt=0, le=3600)
    """A single-flight lease that names no time of its own."""
    replay_running_s: float = Field(default=300.0, gt=0)
    """How long a request id counts as being answered when nobody closes or releases it: after that a retry
    starts anew."""


class UnusableStore(Exception):
    """The store that the configuration names cannot be used; the text is one line for the user."""
