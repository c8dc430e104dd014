"""Settings from the environment; read once, frozen. The deployment itself is in `orchestra.yaml`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from orchestra_rpc import Port, ServiceSettings


class Settings(ServiceSettings):
    """`state_dir` holds the spool of usage that the ledger has not had yet; it belongs to one process."""

    listen: str = "127.0.0.1:50050"
    metrics_port: Port = 51050
    state_dir: Path = Path(".orchestra/router")

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
