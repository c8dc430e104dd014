"""Connections to workers and to the cloud-proxy: one for each process, kept while it is placed or in use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from orchestra.cloud.v1 import cloud_proxy_service_pb2 as cloud_pb
from orchestra.cloud.v1.cloud_proxy_service_pb2_grpc import CloudProxyServiceStub
from orchestra.inference.v1 import inference_service_pb2 as inference_pb
from orchestra.inference.v1.inference_service_pb2_grpc import InferenceServiceStub
from orchestra_errors import OrchestraError, Unavailable, WorkerLost
from orchestra_rpc import MeshChannel, open_channel
from orchestra_telemetry import Telemetry

from ..domain.targets import Target

RESTARTED_S = 1.0
"""A node brings a worker back about this soon."""


class Peer:
    """One process that generates: its stub, and the messages of its own service (they are alike on the
    wire)."""

    def __init__(self, channel: MeshChannel, cloud: bool) -> None:
        self.channel = channel
        self.stub: Any = CloudProxyServiceStub(channel) if cloud else InferenceServiceStub(channel)
        self.request: Callable[..., Any] = cloud_pb.GenerateRequest if cloud else inference_pb.GenerateRequest
        self.batch_request: Callable[..., Any] = (
            cloud_pb.GenerateBatchRequest if cloud else inference_pb.GenerateBatchRequest
        )
        self.users = 0
        self.retired = False


class Peers:
    """The pool. A worker that restarts is another peer, also at the same address."""

    def __init__(self, telemetry: Telemetry, cloud_address: str) -> None:
        self._telemetry = telemetry
        self._cloud_address = cloud_address
        self._peers: dict[str, Peer] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @contextmanager
    def use(self, target: Target) -> Iterator[Peer]:
        """The target's peer; its connection stays open at least as long as it is used."""
        key = _key(target)
        peer = self._peers.get(key)
        if peer is None:
            address = target.address if target.local else self._cloud_address
            # a connection of its own: gRPC would hand a restarted worker the dead one's back-off
            channel = open_channel(
                address, telemetry=self._telemetry, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            peer = Peer(channel, cloud=not target.local)
            self._peers[key] = peer
        peer.users += 1
        try:
            yield peer
        finally:
            peer.users -= 1
            self._close_if_done(peer)

    def keep_only(self, targets: Sequence[Target]) -> None:
        """Let go of the processes that are not placed any more, once nobody uses them."""
        placed = {_key(target) for target in targets}
        for key in [key for key in self._peers if key not in placed]:
            peer = self._peers.pop(key)
            peer.retired = True
            self._close_if_done(peer)

    def __len__(self) -> int:
        return len(self._peers)

    async def close(self) -> None:
        peers = [*self._peers.values()]
        self._peers.clear()
        await asyncio.gather(
            *(peer.channel.close() for peer in peers), *self._closing, return_exceptions=True
        )

    def _close_if_done(self, peer: Peer) -> None:
        if peer.retired and not peer.users:
            task = asyncio.get_running_loop().create_task(peer.channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def as_lost(error: OrchestraError, target: Target) -> OrchestraError:
    """What the transport says of a dead process means that the worker was lost. A peer's own words stay.

    The transport's words come without a kind of ours; orchestra_rpc then speaks of "a peer".
    """
    if isinstance(error, Unavailable) and error.metadata.get("what", "").startswith("a peer"):
        return (
            WorkerLost(target.model, "its connection broke", RESTARTED_S)
            if target.local
            else Unavailable("the cloud-proxy")
        )
    return error


def _key(target: Target) -> str:
    return f"{target.address}@{target.instance_id}" if target.local else "cloud"
