"""Settings from the environment; read once, frozen. The deployment itself is in `orchestra.yaml`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from orchestra_rpc import Port, Seconds, ServiceSettings


class Settings(ServiceSettings):
    """`state_dir` holds the embedded store's snapshot, log and socket."""

    listen: str = "127.0.0.1:50052"
    metrics_port: Port = 51052
    state_dir: Path = Path(".orchestra/cache")
    drain_s: Seconds = 5.0
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
