"""Exact money: fractions in, integer nano-dollars out, rounded once."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor


def half_up(nanos: Fraction) -> int:
    """The nearest whole nano-dollar; exactly half goes up. `nanos` is not negative."""
    return floor(nanos + Fraction(1, 2))


def exact(value: float) -> Fraction:
    """The decimal number that was written: 0.1 is one tenth, not its nearest binary fraction."""
    return Fraction(Decimal(repr(value)))
