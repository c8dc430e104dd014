"""The server from the worker's event loop: single questions and streamed requests. Nothing is repeated."""

from __future__ import annotations

import json
from typing import Any

import httpx

from orchestra_errors import DataLoss, OrchestraError, Unavailable
from orchestra_inference_node.adapters.exchanges import HttpFailed, OnChunk
from orchestra_inference_node.adapters.openai_server import failures, sse
from orchestra_inference_node.adapters.openai_server.calls import Call, Extensions
from orchestra_inference_node.adapters.openai_server.same_model import SameModel
from orchestra_inference_node.adapters.openai_server.site import Site

_CONNECT_S = 5.0
_STREAM = "text/event-stream"


class ServerHttp:
    """A connection for each request: none is left over from a server that was started anew."""

    def __init__(self, site: Site, model: str, stream_path: str, same: SameModel) -> None:
        """`model` is our name; streamed requests go to `stream_path`."""
        self._site = site
        self._model = model
        self._stream_path = stream_path
        self._same = same
        self._client = httpx.AsyncClient(
            base_url=site.url,
            headers=site.headers,
            verify=site.tls,
            timeout=httpx.Timeout(site.silence_s, connect=_CONNECT_S, pool=None),
            limits=httpx.Limits(max_keepalive_connections=0),
            # a proxy of the environment is for other hosts, and a redirect was not named by the operator
            trust_env=False,
            follow_redirects=False,
        )

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """See Posts. Raises besides Unavailable, StreamSilent, NoCapacity and DataLoss."""
        await self._same.sure()
        try:
            response = await Call(
                lambda more: self._client.post(path, json=body, extensions=more), "ask"
            ).result()
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        data = _json(response.content)
        self._refuse(response, data)
        if response.status_code != httpx.codes.OK:
            raise HttpFailed(response.status_code, failures.message_of(data))
        if data is None:
            raise DataLoss(f"the answer of {self._site.shown}", f"{path} gave no JSON")
        return data

    def start(self, request: dict[str, Any], on_chunk: OnChunk) -> Call[None]:
        """See Exchanges. Giving up closes the connection."""
        return Call(lambda more: self._stream(request, on_chunk, more), "upstream")

    async def _stream(self, request: dict[str, Any], on_chunk: OnChunk, more: Extensions) -> None:
        await self._same.sure()
        try:
            async with self._client.stream(
                "POST", self._stream_path, json=request, extensions=more
            ) as response:
                if response.status_code != httpx.codes.OK:
                    data = _json(await response.aread())
                    self._refuse(response, data)
                    on_chunk({"error": {"code": 400, "message": failures.message_of(data)}})
                    return
                kind = response.headers.get("content-type", "")
                if not kind.startswith(_STREAM):
                    raise Unavailable(
                        f"{self._site.shown} (it answers {kind or 'something'}, no stream)",
                        failures.RETRY_LATER_S,
                    )
                async for said in sse.events(response.aiter_bytes(), self._site.shown):
                    if on_chunk(said):
                        return
        except httpx.HTTPError as error:
            raise self._broken(error) from error

    def _refuse(self, response: httpx.Response, data: Any) -> None:
        """Raise for a status that is neither 200 nor the request's fault."""
        status, message = response.status_code, failures.message_of(data)
        if status != httpx.codes.OK and not failures.blames_request(status, message):
            self._same.doubt()
            raise failures.of_status(self._site.shown, self._model, response, message)

    def _broken(self, error: httpx.HTTPError) -> OrchestraError:
        self._same.doubt()
        return failures.of_transport(self._site.shown, error, self._site.silence_s)

    async def close(self) -> None:
        await self._client.aclose()


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
