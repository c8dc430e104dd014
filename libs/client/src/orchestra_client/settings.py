"""How the mesh is reached. Picklable, so that it travels to worker processes."""

from __future__ import annotations

import os
from dataclasses import dataclass

DEFAULT_ROUTER = "127.0.0.1:50050"


@dataclass(frozen=True, slots=True)
class Settings:
    """`router` is host:port. `otlp_endpoint` host:port of a trace receiver, empty for none.

    `timeout` in seconds bounds every call that names none of its own; None leaves it to the mesh.
    """

    router: str = DEFAULT_ROUTER
    otlp_endpoint: str = ""
    timeout: float | None = None
    max_message_bytes: int = 64 * 1024 * 1024

    @classmethod
    def from_environment(cls, router: str | None = None) -> Settings:
        """`ORCHESTRA_ROUTER` and `ORCHESTRA_OTLP_ENDPOINT`, where no address is given."""
        return cls(
            router=router or os.environ.get("ORCHESTRA_ROUTER") or DEFAULT_ROUTER,
            otlp_endpoint=os.environ.get("ORCHESTRA_OTLP_ENDPOINT", ""),
        )
