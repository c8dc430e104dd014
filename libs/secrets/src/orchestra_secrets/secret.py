"""A value that may be used and not shown."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

MASK = "***"


class SecretInvalid(ValueError):
    """The secret cannot be used; the text names it and what is wrong, never the value."""


class Secret:
    """Holds one secret. Only `reveal()` gives it away; printing, formatting, logging, JSON and pickling do
    not.

    Surrounding white space is stripped. A line break or another control character inside, or nothing at all,
    raises SecretInvalid: such a value would end up in a header's error message.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str, *, name: str = "secret") -> None:
        cleaned = value.strip()
        if not cleaned:
            raise SecretInvalid(f"{name} is empty")
        if any(ord(char) < 32 or ord(char) == 127 for char in cleaned):
            raise SecretInvalid(f"{name} has a line break or another control character inside")
        self.__value = cleaned

    def reveal(self) -> str:
        """The value itself, for the one place that hands it to a server."""
        return self.__value

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that tell two versions of a key apart in a log, and nothing else."""
        return hashlib.sha256(b"orchestra-secret:" + self.__value.encode()).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        return hash(("orchestra-secret", self.__value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled: load it where it is used")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A field of a settings model: read from text, shown and dumped as the mask."""
        from pydantic_core import PydanticCustomError, core_schema

        def read(value: object) -> Secret:
            if isinstance(value, Secret):
                return value
            try:
                return cls(value if isinstance(value, str) else "")
            except SecretInvalid as exc:
                raise PydanticCustomError("secret_invalid", "{why}", {"why": str(exc)}) from None

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="always")
        )
