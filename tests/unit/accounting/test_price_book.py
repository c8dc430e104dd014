"""A price counts from its own date; history is never rewritten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestra.ledger.v1.entry_pb2 import Price
from orchestra_accounting import PriceBook

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def row(version: str, model: str, valid_from: datetime, provider: str = "openai") -> Price:
    price = Price(price_version=version, provider=provider, model=model)
    price.valid_from.FromDatetime(valid_from)
    return price


def version(price: Price | None) -> str | None:
    return price.price_version if price is not None else None


def test_the_newest_row_that_holds_counts() -> None:
    book = PriceBook([row("new", "gpt-4o", NOON), row("old", "gpt-4o", NOON - timedelta(days=9))])
    assert version(book.lookup("openai", "gpt-4o", NOON)) == "new"
    assert version(book.lookup("openai", "gpt-4o", NOON - timedelta(seconds=1))) == "old"
    assert book.lookup("openai", "gpt-4o", NOON - timedelta(days=10)) is None


def test_a_star_row_stands_for_models_without_a_row_of_their_own() -> None:
    book = PriceBook([row("star", "*", NOON, "local"), row("own", "big", NOON, "local")])
    assert version(book.lookup("local", "small", NOON)) == "star"
    assert version(book.lookup("local", "big", NOON)) == "own"
    assert book.lookup("openai", "small", NOON) is None


def test_of_two_rows_from_one_moment_the_later_counts() -> None:
    assert version(PriceBook([row("a", "m", NOON), row("b", "m", NOON)]).lookup("openai", "m", NOON)) == "b"
