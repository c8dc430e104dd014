"""Embed at a worker."""

from __future__ import annotations

from collections.abc import Sequence

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import OrchestraError
from orchestra_rpc import call_unary

from ..domain.targets import Target
from .worker_channels import Peers, as_lost


class EmbedCalls:
    """Implements the port EmbedLine."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def embed(self, target: Target, texts: Sequence[str]) -> pb.EmbedResponse:
        asked = pb.EmbedRequest(
            model=target.served_as or target.model, texts=texts, expected_instance_id=target.instance_id
        )
        with self._peers.use(target) as peer:
            try:
                answer: pb.EmbedResponse = await call_unary(peer.stub.Embed(asked))
            except OrchestraError as error:
                raise as_lost(error, target) from error
        return answer
