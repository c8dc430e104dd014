"""What the process reads from its environment; the only reader of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`ORCHESTRA_LISTEN` and its like; what a deployment says stands in orchestra.yaml."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRA_", frozen=True, extra="ignore")

    listen: str = "127.0.0.1:50053"
    metrics_port: int = Field(default=51053, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    state_dir: Path = Path(".orchestra/cost-ledger")
    otlp_endpoint: str = ""
    log_format: Literal["json", "console"] = "json"
    log_level: str = "info"


class UnusableStore(Exception):
    """The store that the configuration names cannot be used; the text is one line for the user."""


def database_file(url: str, state_dir: Path) -> Path:
    """The SQLite file of `ledger.url`; absent: `ledger.sqlite` in the state folder. Raises UnusableStore."""
    if not url:
        return state_dir / "ledger.sqlite"
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite" and path:
        # sqlite:///relative and sqlite:////absolute
        return Path(path)
    raise UnusableStore(
        f"ledger.url names {url.partition('://')[0]}, which this build cannot use yet:"
        " leave it out for SQLite in the state folder, or write sqlite:///path"
    )
