"""Whatever a crash leaves of a journal, what is read back is a prefix of what was written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestra_accounting.records import Kind, decode, encode

records = st.lists(st.tuples(st.sampled_from(list(Kind)), st.binary(max_size=40)), max_size=6)


@given(records)
def test_what_was_written_is_read(written: list[tuple[Kind, bytes]]) -> None:
    data = b"".join(encode(kind, payload) for kind, payload in written)
    assert [(frame.kind, frame.payload) for frame in decode(data)] == written


@given(records, st.data())
def test_a_cut_or_flipped_journal_gives_a_prefix(
    written: list[tuple[Kind, bytes]], data: st.DataObject
) -> None:
    whole = b"".join(encode(kind, payload) for kind, payload in written)
    cut = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if cut and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(cut) - 1))
        cut[place] ^= 1 << data.draw(st.integers(0, 7))
    read = [(frame.kind, frame.payload) for frame in decode(bytes(cut))]
    assert read == written[: len(read)]
