"""Which server an operator means, and how it is spoken to."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from orchestra_errors import Violations
from orchestra_inference_node.adapters.openai_server.entry import AUTO

# a server that others use, too, may let a request wait for its turn without a word
DEFAULT_SILENCE_S = 300.0
_LONGEST_KEY = 4096


@dataclass(frozen=True, slots=True)
class Site:
    """`url` has no path; `silence_s` is how long the server may send nothing."""

    url: str
    model: str
    """The server's own name of the model; empty: the only one that it lists."""
    kind: str
    silence_s: float
    key: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """Of every request. Compressed answers are not asked for: they are as large as they say."""
        plain = {"Accept-Encoding": "identity"}
        return plain | {"Authorization": f"Bearer {self.key}"} if self.key else plain

    @property
    def tls(self) -> ssl.SSLContext:
        """Reading the host's certificates takes longer than a question: once, and never for http."""
        return _certificates(self.url.startswith("https:"))

    @property
    def shown(self) -> str:
        """For messages."""
        return f"the server at {self.url}"

    @classmethod
    def read(cls, path: str, options: Mapping[str, str]) -> Site:
        """Raises InvalidRequest naming everything that is wrong."""
        found = Violations()
        parts = _address(path, found)
        key = _key(options.get("api_key_file", ""), found)
        here = parts is None or _is_this_host(parts.hostname or "")
        found.require(
            here or options.get("beyond_this_host") == "true",
            "spec.path",
            "is not on this host: say beyond_this_host=true if that is meant",
        )
        found.require(
            here or not key or (parts is not None and parts.scheme == "https"),
            "spec.engine_options['api_key_file']",
            "a key leaves this host by https only",
        )
        found.raise_if_any()
        assert parts is not None
        return cls(
            url=f"{parts.scheme}://{parts.netloc}",
            model=options.get("model", ""),
            kind=options.get("server", AUTO),
            silence_s=float(options.get("silence_s", DEFAULT_SILENCE_S)),
            key=key,
        )


@cache
def _certificates(needed: bool) -> ssl.SSLContext:
    return httpx.create_ssl_context() if needed else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _address(path: str, found: Violations) -> SplitResult | None:
    try:
        parts = urlsplit(path)
        _ = parts.port
    except ValueError:
        found.require(False, "spec.path", "is no address")
        return None
    before = len(found.found)
    found.require(
        parts.scheme in ("http", "https") and bool(parts.hostname),
        "spec.path",
        "must be the address of a server, such as http://127.0.0.1:8080",
    )
    found.require(
        parts.path.rstrip("/") in ("", "/v1") and not parts.query and not parts.fragment,
        "spec.path",
        "must end after the port, or with /v1",
    )
    # it would be shown wherever the path is
    found.require("@" not in parts.netloc, "spec.path", "must hold no name or password: use api_key_file")
    return parts if len(found.found) == before else None


def _is_this_host(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(file: str, found: Violations) -> str:
    """What the file holds, without the white space around it. No message holds any of it."""
    name = "spec.engine_options['api_key_file']"
    if not file:
        return ""
    try:
        with Path(file).open("rb") as opened:
            raw = opened.read(_LONGEST_KEY + 1)
    except OSError as error:
        found.require(False, name, f"cannot be read: {error.strerror}")
        return ""
    stripped = raw.strip()
    right = 0 < len(stripped) <= _LONGEST_KEY and all(0x21 <= byte <= 0x7E for byte in stripped)
    found.require(right, name, "must hold one key: visible ASCII on one line, without white space inside")
    return stripped.decode() if right else ""
