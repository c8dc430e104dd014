"""Pages of lists: sizes and opaque tokens that belong to one filter."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass

from orchestra_errors import Violations


@dataclass(frozen=True, slots=True)
class Page:
    """What to read: at most `size` rows after `cursor` (empty: from the start)."""

    size: int
    cursor: str
    mark: str

    def token(self, cursor: str) -> str:
        """`next_page_token` for the page after `cursor`; an empty cursor gives the empty token: no more
        pages."""
        if not cursor:
            return ""
        body = json.dumps([cursor, self.mark], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(body).decode().rstrip("=")


def page_of(
    page_size: int, page_token: str, *, filter: object = None, default: int = 50, maximum: int = 1000
) -> Page:
    """Read the paging fields of a list request.

    Size 0 means `default`, too large is lowered to `maximum`, negative is refused. `filter` is whatever
    decides which rows there are (JSON-like or with a stable str); a token made under another filter is
    refused. Raises InvalidRequest naming both fields when both are wrong.
    """
    mark = hashlib.sha256(json.dumps(filter, sort_keys=True, default=str).encode()).hexdigest()[:16]
    found = Violations()
    found.require(page_size >= 0, "page_size", f"must not be negative, got {page_size}")
    cursor = ""
    if page_token:
        cursor, made_under = _read(page_token)
        if found.require(bool(cursor), "page_token", "is not a token of this service"):
            found.require(made_under == mark, "page_token", "belongs to a list with another filter")
    found.raise_if_any()
    return Page(min(page_size, maximum) or default, cursor, mark)


def _read(token: str) -> tuple[str, str]:
    try:
        body = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error):
        return "", ""
    match body:
        case [str(cursor), str(mark)]:
            return cursor, mark
    return "", ""
