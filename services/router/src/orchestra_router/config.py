"""Settings from the environment; read once, frozen. The deployment itself is in `orchestra.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables with the prefix `ORCHESTRA_`, for example `ORCHESTRA_LISTEN`."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRA_", frozen=True, extra="ignore")

    listen: str = "127.0.0.1:50050"
    """host:port; port 0 lets the system choose."""
    metrics_port: int = Field(default=51050, ge=0, le=65535)
    """0: no metrics."""
    metrics_host: str = "127.0.0.1"
    state_dir: Path = Path(".orchestra/router")
    """Holds the spool of usage that the ledger has not had yet."""
    otlp_endpoint: str = ""
    """Empty: spans are not exported."""
    log_format: Literal["json", "console"] = "json"
    log_level: str = "info"
    drain_s: float = Field(default=20.0, ge=0)

    cache_budget_s: float = Field(default=0.02, gt=0)
    """The most that a lookup may delay a request; a cache that is slower is taken for absent."""
    cache_batch_budget_s: float = Field(default=0.1, gt=0)
    """The same for the lookups of a batch, which go together."""
    ledger_budget_s: float = Field(default=2.0, gt=0)
    """The most that a reservation may take."""
    max_requests: int = Field(default=1024, ge=1)
    """Calls that are answered at once; more are refused with a time to retry."""
    max_batch_items: int = Field(default=1024, ge=1)
    """Items in flight on one GenerateBatch stream; then nothing more is read from it."""
    price_refresh_s: float = Field(default=30.0, gt=0)
