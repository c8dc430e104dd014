"""OpenAI, and every server that speaks its API, by the openai SDK, which repeats nothing here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import httpx2
import openai

from orchestra_cloud_proxy.adapters.openai_faults import FAILURES, scrubbed, to_fault
from orchestra_cloud_proxy.adapters.openai_request import to_request
from orchestra_cloud_proxy.adapters.openai_stream import StreamReader
from orchestra_cloud_proxy.domain.call import Call
from orchestra_cloud_proxy.domain.chunk import Chunk, Tokens
from orchestra_cloud_proxy.domain.faults import Fault, Where
from orchestra_cloud_proxy.ports import Embedded, ProviderFailed
from orchestra_secrets import Secret

VENDOR_URL = "https://api.openai.com/v1"
CONNECT_S = 10.0
DRAIN_S = 0.1
_KEYLESS = "none"
_Bytes: TypeAlias = AsyncGenerator[bytes, None]


class OpenAIProvider:
    """Implements the port Provider. `connections`: how many are kept and opened at most."""

    def __init__(self, base_url: str, *, connections: int) -> None:
        # said in full, so that no variable of the SDK's own can redirect calls or change who pays
        self._base_url = base_url or VENDOR_URL
        self._vendor = urlsplit(self._base_url).hostname == urlsplit(VENDOR_URL).hostname
        self._http = openai.DefaultAsyncHttpxClient(
            base_url=self._base_url,
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        )
        self._clients: dict[Secret | None, openai.AsyncOpenAI] = {}

    async def stream(self, call: Call, key: Secret | None) -> AsyncGenerator[Chunk, None]:
        reader = StreamReader()
        answering = False
        try:
            async with self._opened(call, key) as response:
                answering = True
                _check_is_stream(response.headers)
                async with aclosing(cast(_Bytes, response.iter_bytes())) as received:
                    async for data in received:
                        for chunk in reader.feed(data):
                            yield chunk
                        if reader.done:
                            await _drain(received)
                            break
        except FAILURES as error:
            raise ProviderFailed(to_fault(error, key, answering=answering)) from None
        except ProviderFailed as failed:
            fault = failed.fault
            message = scrubbed(fault.message, key)
            raise ProviderFailed(
                Fault(fault.where, message, fault.status, fault.code, fault.type, fault.retry_after)
            ) from None
        rest = reader.end()
        if rest is not None:
            yield rest

    async def embed(self, provider_model: str, texts: Sequence[str], key: Secret | None) -> Embedded:
        try:
            answer = await self._client(key).embeddings.create(
                model=provider_model, input=list(texts), encoding_format="float"
            )
            vectors = [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
        except FAILURES as error:
            raise ProviderFailed(to_fault(error, key, answering=False)) from None
        except (AttributeError, TypeError):
            raise ProviderFailed(Fault(Where.UNREADABLE, "the answer holds no embeddings")) from None
        if len(vectors) != len(texts):
            raise ProviderFailed(Fault(Where.UNREADABLE, f"{len(vectors)} vectors for {len(texts)} texts"))
        usage = getattr(answer, "usage", None)
        return Embedded(vectors, Tokens(prompt=usage.prompt_tokens, completion=0) if usage else None)

    async def close(self) -> None:
        await self._http.aclose()

    def _opened(
        self, call: Call, key: Secret | None
    ) -> AbstractAsyncContextManager[openai.AsyncAPIResponse[Any]]:
        client, request = self._client(key), to_request(call, vendor=self._vendor)
        if call.text is not None:
            return client.completions.with_streaming_response.create(**request)
        return client.chat.completions.with_streaming_response.create(**request)

    def _client(self, key: Secret | None) -> openai.AsyncOpenAI:
        """One for each key, all over one pool of connections."""
        client = self._clients.get(key)
        if client is None:
            if len(self._clients) >= 16:
                # keys that were rotated away; whoever still uses one keeps it
                self._clients.clear()
            client = openai.AsyncOpenAI(
                api_key=key.reveal() if key is not None else _KEYLESS,
                base_url=self._base_url,
                max_retries=0,
                timeout=httpx2.Timeout(None, connect=CONNECT_S),
                http_client=self._http,
            )
            self._clients[key] = client
        return client


def _check_is_stream(headers: httpx2.Headers) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "text/event-stream":
        raise ProviderFailed(Fault(Where.UNREADABLE, f"the answer is {kind}, not a stream"))


async def _drain(received: AsyncIterator[bytes]) -> None:
    """Read what follows the end mark, so that the connection can be used again."""
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in received:
                pass
    except (TimeoutError, httpx2.HTTPError, httpx2.StreamError):
        # the answer is whole; only the connection is not kept
        return
