"""Rows of the price book: checked before they are added, for they are never changed."""

from __future__ import annotations

from orchestra.ledger.v1 import entry_pb2
from orchestra_errors import Violations

_RATES = (
    "input_nanos_per_million",
    "output_nanos_per_million",
    "cached_input_nanos_per_million",
    "cache_write_nanos_per_million",
    "reasoning_nanos_per_million",
    "electricity_nanos_per_kwh",
)


LATEST_S = 253_402_300_800
"""The end of the year 9999, as far as a Timestamp goes."""


def to_new_price(message: entry_pb2.Price) -> entry_pb2.Price:
    """A copy. Raises InvalidRequest with every violation."""
    found = Violations("price.")
    found.require(not message.price_version, "price_version", "is made by the ledger")
    for name in ("provider", "model", "source"):
        found.require(bool(getattr(message, name)), name, "must be set")
    for name in _RATES:
        found.require(getattr(message, name) >= 0, name, "must not be negative")
    for index, step in enumerate(message.steps):
        at = f"steps[{index}]."
        found.require(step.from_prompt_tokens > 0, f"{at}from_prompt_tokens", "must be positive")
        for name in _RATES[:3]:
            found.require(getattr(step, name) >= 0, f"{at}{name}", "must not be negative")
    if message.HasField("batch_factor"):
        found.require(0 <= message.batch_factor <= 1, "batch_factor", "must be a share of 0 to 1")
    for name, moment in (("valid_from", message.valid_from), ("checked_on", message.checked_on)):
        # an absent one reads as 1970
        found.require(0 <= moment.seconds < LATEST_S, name, "must lie between the years 1970 and 9999")
    found.raise_if_any()
    price = entry_pb2.Price()
    price.CopyFrom(message)
    return price
