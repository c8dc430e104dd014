"""Servers, channels, deadlines and errors over grpc.aio."""

from orchestra_rpc.calls import call_stream, call_unary
from orchestra_rpc.channel import MeshChannel, open_channel
from orchestra_rpc.deadline import Deadline, current_deadline, deadline_scope
from orchestra_rpc.health import Check
from orchestra_rpc.lifecycle import Shutdown, serve
from orchestra_rpc.paging import Page, page_of
from orchestra_rpc.process import run_service
from orchestra_rpc.server import PortInUse, RunningServer, Service, running
from orchestra_rpc.service_settings import Port, Seconds, ServiceSettings, SettingsError
from orchestra_rpc.settings import RpcSettings
from orchestra_rpc.status import (
    error_from_rpc,
    error_from_status,
    pack_status,
    status_from_error,
    unpack_status,
)
from orchestra_rpc.tasks import Background

__all__ = [
    "Background",
    "Check",
    "Deadline",
    "MeshChannel",
    "Page",
    "Port",
    "PortInUse",
    "RpcSettings",
    "RunningServer",
    "Seconds",
    "Service",
    "ServiceSettings",
    "SettingsError",
    "Shutdown",
    "call_stream",
    "call_unary",
    "current_deadline",
    "deadline_scope",
    "error_from_rpc",
    "error_from_status",
    "open_channel",
    "pack_status",
    "page_of",
    "run_service",
    "running",
    "serve",
    "status_from_error",
    "unpack_status",
]
