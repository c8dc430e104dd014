"""The key changes when, and only when, something that changes the answer changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.generation.v1 import prompt_pb2, request_pb2, sampling_pb2
from orchestra_cache.domain.fields import KEYED, LEFT_OUT
from orchestra_cache.rpc.keying import canonical, key_of


def key(subject: pb.Subject) -> str:
    return key_of(canonical(subject))


def subject(**generation: Any) -> pb.Subject:
    """A plain subject; `generation` are fields of its request."""
    asked = request_pb2.GenerationRequest(**({"text": "def add("} | generation))
    return pb.Subject(tenant="lab", generation=asked, model="m", revision="sha256:1", provider="local")


def sampled(**settings: Any) -> str:
    return key(subject(sampling=sampling_pb2.Sampling(**settings)))


def fields(descriptor: Any, seen: set[str]) -> Iterator[FieldDescriptor]:
    """Every field that can occur in a message and in its parts, but not in those that are left out whole."""
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        yield field
        if field.message_type is not None and field.name not in LEFT_OUT.get(descriptor.full_name, {}):
            yield from fields(field.message_type, seen)


def owner(field: FieldDescriptor) -> str:
    """The full name of the message that a field stands in."""
    assert field.containing_type is not None
    return field.containing_type.full_name


EVERY_FIELD = list(fields(pb.Subject.DESCRIPTOR, set()))


@pytest.mark.parametrize("field", EVERY_FIELD, ids=lambda field: field.full_name)
def test_every_field_is_decided(field: FieldDescriptor) -> None:
    """A new field of the contract stops here until somebody has said whether it changes the answer."""
    of = owner(field)
    assert (field.name in KEYED.get(of, {})) != (field.name in LEFT_OUT.get(of, {})), "in exactly one table"


def test_tables_name_only_what_exists() -> None:
    known = {(owner(field), field.name) for field in EVERY_FIELD}
    named = {(of, name) for table in (KEYED, LEFT_OUT) for of, names in table.items() for name in names}
    assert named == known


def changed(message: Any, field: FieldDescriptor) -> None:
    """Give one field another value than it has."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name)["k"] = "v"
    elif field.is_repeated and field.message_type is not None:
        part = getattr(message, field.name).add()
        changed(part, part.DESCRIPTOR.fields[0])
    elif field.is_repeated:
        getattr(message, field.name).append("x" if field.cpp_type == field.CPPTYPE_STRING else 1)
    elif field.message_type is not None:
        part = getattr(message, field.name)
        part.SetInParent()
        for inner in part.DESCRIPTOR.fields[:2]:
            changed(part, inner)
    elif field.cpp_type == field.CPPTYPE_STRING:
        setattr(message, field.name, b"x" if field.type == field.TYPE_BYTES else "x")
    elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        setattr(message, field.name, 0.25)
    elif field.cpp_type == field.CPPTYPE_BOOL:
        setattr(message, field.name, True)
    else:
        setattr(message, field.name, 2)


PATHS = {
    "orchestra.cache.v1.Subject": lambda s: s,
    "orchestra.generation.v1.GenerationRequest": lambda s: s.generation,
    "orchestra.generation.v1.Sampling": lambda s: s.generation.sampling,
}


@pytest.mark.parametrize(
    "field",
    [field for field in EVERY_FIELD if owner(field) in PATHS and field.name != "generation"],
    ids=lambda field: field.full_name,
)
def test_key_follows_the_tables(field: FieldDescriptor) -> None:
    """Every field of request and sampling is changed on its own."""
    before, after = subject(), subject()
    if field.name == "tool_choice":
        for one in (before, after):
            one.generation.tools.add(name="t")
    changed(PATHS[owner(field)](after), field)
    assert before != after
    assert (key(before) != key(after)) == (field.name in KEYED[owner(field)])


def test_absent_settings_are_the_neutral_ones() -> None:
    neutral = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    penalties = {"presence_penalty": -0.0, "frequency_penalty": 0.0}
    assert sampled(**neutral, **penalties, n=7) == key(subject())


def test_absence_that_means_something_is_kept() -> None:
    assert len({sampled(), sampled(seed=0), sampled(max_tokens=1), sampled(prompt_logprobs=0)}) == 4


@given(st.floats(0, 5, width=32))
def test_text_of_a_float_does_not_matter(value: float) -> None:
    """A client that writes 0.7 and one that writes 0.69999999 ask the same: engines receive 32 bits."""
    assert sampled(temperature=float(f"{value:.9g}")) == sampled(temperature=value)


def test_stops_are_a_set() -> None:
    assert sampled(stop=["a", "b", "a"], stop_token_ids=[3, 1]) == sampled(
        stop=["b", "a"], stop_token_ids=[1, 3, 3]
    )


def test_tool_choice_without_tools_says_nothing_and_auto_is_the_default_with_them() -> None:
    auto = prompt_pb2.ToolChoice(mode=prompt_pb2.TOOL_CHOICE_MODE_AUTO)
    required = prompt_pb2.ToolChoice(mode=prompt_pb2.TOOL_CHOICE_MODE_REQUIRED)
    tools = [prompt_pb2.Tool(name="run")]
    assert key(subject(tool_choice=auto)) == key(subject())
    assert key(subject(tools=tools, tool_choice=auto)) == key(subject(tools=tools))
    assert key(subject(tools=tools, tool_choice=required)) != key(subject(tools=tools))


def test_a_chat_is_not_the_text_of_its_words() -> None:
    chat = prompt_pb2.Chat(
        messages=[prompt_pb2.Message(role=prompt_pb2.ROLE_USER, parts=[prompt_pb2.Part(text="def add(")])]
    )
    assert key(subject(chat=chat)) != key(subject())


def test_unknown_fields_of_a_newer_peer_do_not_matter() -> None:
    newer = pb.Subject.FromString(subject().SerializeToString() + b"\xfa\x07\x01x")
    assert key(newer) == key(subject())


def test_asking_does_not_change_the_request() -> None:
    asked = subject(labels={"a": "b"}, run_id="r")
    copy = pb.Subject.FromString(asked.SerializeToString())
    key(asked)
    assert asked == copy


@given(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4), st.text(max_size=4))
def test_neighbouring_names_do_not_run_together(a: str, b: str, c: str, d: str) -> None:
    one, two = subject(), subject()
    one.tenant, one.model = a, b
    two.tenant, two.model = c, d
    assert (key(one) == key(two)) == ((a, b) == (c, d))
