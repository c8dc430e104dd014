"""The frozen shapes that every part of the tree is made of, and the units written in words.

Units inside the tree: bytes, seconds, tokens, watts, integer nano-dollars. In YAML a size may be written
`24GB` (1 GB = 10^9 bytes, as the paper counts), an amount of money `$0.15` (1 dollar = 10^9 nano-dollars).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

NANOS_PER_DOLLAR = 1_000_000_000
_DECIMAL = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES_IN = {**_DECIMAL, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"^~?\s*(\d+(?:\.\d+)?)\s*([kKMGT]?i?B)$")

K = TypeVar("K")
V = TypeVar("V")


class Frozen(BaseModel):
    """A part of the tree: immutable, and refuses keys that it does not know."""

    # Deferred: a service builds the parts that it reads, when it reads them.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )


class FrozenDict(dict[K, V]):
    """A dict that refuses to change; it still pickles, copies and prints as one."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("the configuration is frozen")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return (FrozenDict, (dict(self),))


def _freeze(value: Mapping[Any, Any]) -> FrozenDict[Any, Any]:
    return FrozenDict(value)


FrozenMap = Annotated[Mapping[K, V], AfterValidator(_freeze), PlainSerializer(dict)]


def parse_bytes(value: object) -> object:
    """`'22.5GB'`, `'~500MB'` or an int → bytes. Anything else comes back as it was, to be refused."""
    if isinstance(value, str):
        if not (match := _SIZE.match(value.strip())):
            raise ValueError(f"{value!r} is not a size; write bytes or for example 24GB")
        return int(Decimal(match[1]) * _BYTES_IN[match[2].upper()])
    return value


def parse_nanos(value: object) -> object:
    """`'$0.15'` or an int of nano-dollars → nano-dollars, exact; refuses fractions of a nano-dollar."""
    if isinstance(value, str):
        try:
            dollars = Decimal(value.strip().removeprefix("$").replace(",", ""))
        except InvalidOperation:
            dollars = None
        if dollars is None or not value.strip().startswith("$"):
            raise ValueError(f"{value!r} is not money; write nano-dollars or for example $0.15")
        nanos = dollars * NANOS_PER_DOLLAR
        if nanos != int(nanos):
            raise ValueError(f"{value!r} is finer than a nano-dollar")
        return int(nanos)
    return value


def _refuse_negative(value: int) -> int:
    if value < 0:
        raise ValueError("must not be negative")
    return value


_SIZE_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE.pattern}]}
)
_MONEY_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\$\d[\d,]*(\.\d{1,9})?$"}]}
)
Bytes = Annotated[int, BeforeValidator(parse_bytes), AfterValidator(_refuse_negative), _SIZE_SCHEMA]
"""Bytes; YAML may say `24GB`."""
Nanos = Annotated[int, BeforeValidator(parse_nanos), AfterValidator(_refuse_negative), _MONEY_SCHEMA]
"""Integer nano-dollars; YAML may say `$0.15`."""
