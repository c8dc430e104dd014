"""Single questions that block: for looking at a server before and while a model is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from orchestra_errors import FailedPrecondition
from orchestra_inference_node.adapters.openai_server import failures
from orchestra_inference_node.adapters.openai_server.site import Site

_CONNECT_S = 3.0
LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`data` is None for what is no JSON."""

    status: int
    data: Any
    text: str

    @property
    def holds(self) -> dict[str, Any]:
        """The object of a good answer; empty when it is none."""
        return self.data if self.status == httpx.codes.OK and isinstance(self.data, dict) else {}

    @property
    def message(self) -> str:
        """Why it is none."""
        return failures.message_of(self.data) if self.data is not None else self.text[:80]


class Asker:
    """Asks one server. A context manager."""

    def __init__(self, site: Site, seconds: float = LOOK_S) -> None:
        """`seconds` for each answer."""
        self.site = site
        self._seconds = seconds
        self._client = httpx.Client(
            base_url=site.url,
            headers=site.headers,
            verify=site.tls,
            timeout=httpx.Timeout(seconds, connect=_CONNECT_S),
            trust_env=False,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> Answer:
        """Raises Unavailable or StreamSilent when there is no answer, FailedPrecondition for a refused
        key."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        """Raises as `get` does."""
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        try:
            response = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise failures.of_transport(self.site.shown, error, self._seconds) from error
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            given = (
                "refuses the key of api_key_file" if self.site.key else "wants a key: name an api_key_file"
            )
            raise FailedPrecondition(self.site.shown, given)
        try:
            data = json.loads(response.content)
        except ValueError:
            data = None
        return Answer(response.status_code, data, response.text)
