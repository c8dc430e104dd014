"""What the daemon tells a worker at its start, and the reports that come back. One JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestra_inference_node.ports import EngineDevice, LoadMoved, LoadSettings


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that a worker needs to know; it reads no file and no environment of its own."""

    model: str
    path: str
    engine: str
    node_id: str
    worker_id: str
    instance_id: str
    revision: str
    quantization: str
    host: str
    """Under which callers reach this host."""
    listen_host: str
    ports: list[int]
    """Tried in turn: what is free when they are bound is not known before."""
    parent: int
    """Process id of the daemon: the worker ends with it."""
    scratch: str
    context_tokens: int | None = None
    slots: int | None = None
    queue_limit: int = 256
    chat: bool = True
    device_threads: int | None = None
    devices: list[tuple[str, str, int | None, int | None]] = field(default_factory=list)
    """Fields of EngineDevice."""
    options: dict[str, str] = field(default_factory=dict)
    heartbeat_s: float = 5.0
    otlp_endpoint: str = ""
    log_format: str = "json"
    log_level: str = "info"

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Order:
        return cls(**json.loads(line))

    def load_settings(self, moved: Callable[[LoadMoved], None]) -> LoadSettings:
        return LoadSettings(
            model=self.model,
            path=self.path,
            context_tokens=self.context_tokens,
            slots=self.slots,
            chat=self.chat,
            device_threads=self.device_threads,
            options=self.options,
            scratch=Path(self.scratch),
            devices=tuple(EngineDevice(*one) for one in self.devices),
            moved=moved,
            revision="" if self.revision.startswith("sha256:") else self.revision,
        )


Report = dict[str, Any]
"""`{"at": "loading" | "moved" | "warming" | "ready" | "status" | "failed" | "drained", …}`"""
