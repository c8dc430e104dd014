"""What local work cost here, set against the price of the same tokens elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from orchestra_cost_ledger.domain.moment import SECOND
from orchestra_cost_ledger.domain.report import CostFilter

MONTH_US = 2_629_746 * SECOND
"""A twelfth of the mean Gregorian year."""


@dataclass(frozen=True, slots=True)
class TrafficQuery:
    """Local attempts, by classes of prompt length: each class begins at one of `from_prompt_tokens`."""

    filter: CostFilter
    from_prompt_tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Local attempts of one class of prompt length that consumed something and were not served from the
    cache. The sums are over those whose cost and usage are known; the others are counted in `left_out`.
    """

    from_prompt_tokens: int
    attempts: int
    left_out: int
    estimated: int
    prompt_tokens: int
    completion_tokens: int
    cost_nanos: int
    electricity_nanos: int
    hardware_nanos: int
    first_at: int


@dataclass(frozen=True, slots=True)
class Line:
    """`nanos` None: not known."""

    label: str
    nanos: int | None
    formula: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`return_months` None: not asked for, not known, or never."""

    lines: tuple[Line, ...]
    return_months: float | None = None


def local_line(traffic: Sequence[Traffic]) -> Line:
    """What was recorded."""
    attempts = sum(one.attempts for one in traffic)
    left_out = sum(one.left_out for one in traffic)
    estimated = sum(one.estimated for one in traffic)
    notes = []
    if left_out:
        notes.append(f"{left_out} attempts whose cost or usage is not known are left out of every line")
    if estimated:
        notes.append(f"the cost of {estimated} attempts is an estimate (declared power)")
    if not attempts:
        notes.insert(0, "no local attempt of known cost and usage matches")
        return Line("local", None, "nothing to sum", "; ".join(notes))
    power = sum(one.electricity_nanos for one in traffic)
    hardware = sum(one.hardware_nanos for one in traffic)
    formula = f"{attempts} recorded attempts: electricity {power} + share of hardware {hardware}"
    return Line("local", sum(one.cost_nanos for one in traffic), formula, "; ".join(notes))


def savings(
    traffic: Sequence[Traffic], cheapest: Line, hardware_nanos: int, since: int, until: int
) -> tuple[Line, float | None]:
    """What not buying from `cheapest` saves in a month, and the months after which that has paid for the
    hardware; None when it never does.

    Only electricity is set against it: the hardware's share is what is to be paid back.
    """
    power = sum(one.electricity_nanos for one in traffic)
    saved = (cheapest.nanos or 0) - power
    length = max(1, until - since)
    a_month = Fraction(saved * MONTH_US, length)
    days = length / (86_400 * SECOND)
    line = Line(
        f"saved in a month against {cheapest.label}",
        round(a_month),
        f"({cheapest.nanos} - electricity {power}) over {days:.6g} days, times 30.437 days",
        f"the cheapest priced line; linear; the return is the hardware's {hardware_nanos} over this",
    )
    return line, float(hardware_nanos / a_month) if saved > 0 else None
