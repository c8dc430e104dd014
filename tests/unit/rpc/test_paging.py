"""Pages: sizes are defaulted, lowered or refused, and a token belongs to its filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_errors import InvalidRequest
from orchestra_rpc import page_of


@given(cursor=st.text(min_size=1), filter=st.dictionaries(st.text(), st.integers()))
def test_a_token_leads_back_to_its_cursor(cursor: str, filter: dict[str, int]) -> None:
    token = page_of(10, "", filter=filter).token(cursor)
    assert page_of(10, token, filter=dict(reversed(filter.items()))).cursor == cursor


def test_sizes() -> None:
    assert page_of(0, "", default=50).size == 50
    assert page_of(7, "").size == 7
    assert page_of(10**6, "", maximum=1000).size == 1000
    assert page_of(7, "").cursor == ""
    assert page_of(7, "").token("") == ""


@pytest.mark.parametrize("token", ["x", "%%%", "bm90IGpzb24", "WzFd", "é", "W10"])
def test_a_made_up_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        page_of(10, token)
    assert [v.field for v in raised.value.violations] == ["page_token"]


def test_every_mistake_is_named_at_once() -> None:
    token = page_of(10, "", filter={"run": "a"}).token("17")
    with pytest.raises(InvalidRequest) as raised:
        page_of(-1, token, filter={"run": "b"})
    assert [v.field for v in raised.value.violations] == ["page_size", "page_token"]
