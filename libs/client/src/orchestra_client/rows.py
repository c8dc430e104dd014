"""Protobuf messages and samples as plain JSON values, field names as in the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

if TYPE_CHECKING:
    from .sample import Sample

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
        inner = field.message_type
        if field.type in _LARGE:
            found[field.name] = [int(one) for one in value] if isinstance(value, list) else int(value)
        elif inner is None or inner.file.name.startswith("google/"):
            continue
        elif inner.GetOptions().map_entry:
            _map(value, inner.fields_by_name["value"])
        else:
            for one in value if isinstance(value, list) else [value]:
                _numbers(one, inner)


def _map(found: dict[str, Any], values: FieldDescriptor) -> None:
    if values.type in _LARGE:
        found.update({key: int(value) for key, value in found.items()})
    elif values.message_type is not None:
        for one in found.values():
            _numbers(one, values.message_type)


def sample_row(sample: Sample) -> dict[str, Any]:
    """A row as in samples.jsonl."""
    row: dict[str, Any] = {
        "text": sample.text,
        "model": sample.model,
        "sample_id": sample.sample_id,
        "sample_index": sample.index,
        "finish_reason": f"FINISH_REASON_{sample.finish_reason.name}",
        "trace_id": sample.trace_id,
        "request_id": sample.request_id,
        "provenance": plain(sample.provenance),
        "usage": plain(sample.usage),
        "cost": plain(sample.cost),
        "timings": plain(sample.timings),
    }
    if sample.reasoning:
        row["reasoning"] = sample.reasoning
    if sample.tool_calls:
        row["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments_json": call.arguments_json}
            for call in sample.tool_calls
        ]
    if sample.stop_matched:
        row["stop_matched"] = sample.stop_matched
    if sample.token_ids:
        row["token_ids"] = list(sample.token_ids)
    if sample.logprobs:
        row["logprobs"] = list(sample.logprobs)
    if sample.top_logprobs:
        row["top_logprobs"] = [plain(one) for one in sample.top_logprobs]
    if sample.prompt_logprobs is not None:
        row["prompt_logprobs"] = plain(sample.prompt_logprobs)
    return row
