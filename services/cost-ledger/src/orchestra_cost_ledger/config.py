"""What the process reads from its environment; the only reader of it."""

from __future__ import annotations

from pathlib import Path

from orchestra_rpc import Port, ServiceSettings


class Settings(ServiceSettings):
    """`state_dir` holds the database; what a deployment says stands in orchestra.yaml."""

    listen: str = "127.0.0.1:50053"
    metrics_port: Port = 51053
    state_dir: Path = Path(".orchestra/cost-ledger")


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
