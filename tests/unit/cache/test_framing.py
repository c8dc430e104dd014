"""What cannot be read back whole is a miss, never another answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestra_cache.domain.framing import frame, unframe

payloads = st.one_of(st.binary(max_size=600), st.binary(min_size=1, max_size=8).map(lambda part: part * 400))


@given(payloads, st.binary(max_size=20))
def test_what_goes_in_comes_out(payload: bytes, place: bytes) -> None:
    assert unframe(frame(payload, place), place) == payload


@given(payloads, st.data())
def test_any_flipped_bit_is_noticed(payload: bytes, data: st.DataObject) -> None:
    value = bytearray(frame(payload, b"here"))
    at = data.draw(st.integers(0, len(value) * 8 - 1))
    value[at // 8] ^= 1 << at % 8
    assert unframe(bytes(value), b"here") is None


@given(payloads, st.integers(0, 700))
def test_a_cut_value_is_noticed(payload: bytes, keep: int) -> None:
    value = frame(payload, b"here")
    assert keep >= len(value) or unframe(value[:keep], b"here") is None


def test_a_value_of_another_place_is_noticed() -> None:
    """A draw that turns up under another tenant's key is not served there."""
    assert unframe(frame(b"secret", b"tenant a"), b"tenant b") is None


def test_repetitive_answers_are_compressed_and_small_ones_left_alone() -> None:
    assert len(frame(b"token " * 1000, b"")) < 600
    assert frame(b"short", b"").endswith(b"short")
