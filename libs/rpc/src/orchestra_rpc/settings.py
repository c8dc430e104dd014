"""What an operator may set about a server's gRPC."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024


class RpcSettings(BaseModel):
    """Frozen and checked; every time is in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = "127.0.0.1:0"
    """`host:port`; port 0 lets the system choose."""
    max_message_bytes: int = Field(default=64 * MIB, ge=4 * MIB, le=1024 * MIB)
    """The largest message in either direction."""
    drain_s: float = Field(default=20.0, ge=0)
    """How long running calls may finish after SIGTERM before they are ended with DRAINING."""
    drain_notice_s: float = Field(default=0.0, ge=0)
    """How long health says NOT_SERVING before new calls are refused, for balancers that poll."""
    default_unary_deadline_s: float = Field(default=60.0, gt=0)
    """For a call with a single answer whose caller names no deadline."""
    default_stream_deadline_s: float = Field(default=3600.0, gt=0)
    """For a call with streamed answers whose caller names no deadline."""
    maximum_deadline_s: float = Field(default=86_400.0, gt=0)
    """A longer deadline is lowered to this."""
    silence_s: float = Field(default=120.0, ge=0)
    """A response stream that yields nothing for so long ends with STREAM_SILENT; 0 switches this off."""
