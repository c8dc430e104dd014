"""Protobuf messages as rows of a dataset: plain JSON, field names as in the contract."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_LARGE = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}


def plain(message: Message) -> dict[str, Any]:
    """As protobuf's JSON, but with large integers as numbers: a column of digits in quotes sorts wrongly.

    Enums are names, times RFC 3339, durations like `1.5s`. What is absent stays absent.
    """
    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    _numbers(found, message.DESCRIPTOR)
    return found


def _numbers(found: dict[str, Any], descriptor: Any) -> None:
    for field in descriptor.fields:
        value = found.get(field.name)
        if value is None:
            continue
        if field.type in _LARGE:
            found[field.name] = [int(one) for one in value] if isinstance(value, list) else int(value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type is not None:
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    _numbers(one, field.message_type)
