"""A request of the contract as a job; everything that the model cannot do is refused by name."""

from __future__ import annotations

import base64
import uuid

from orchestra.cloud.v1 import cloud_proxy_service_pb2 as cloud_pb
from orchestra.generation.v1 import prompt_pb2, request_pb2
from orchestra_cloud_proxy.domain.call import Call, Picture, Role, ToolChoice, ToolSpec, ToolUse, Turn
from orchestra_cloud_proxy.domain.offerings import Offering, Offerings
from orchestra_cloud_proxy.flows.job import Job, Reservation
from orchestra_errors import Unsupported, Violations
from orchestra_requests import check_generation

_ROLES: dict[int, Role] = {
    prompt_pb2.ROLE_SYSTEM: "system",
    prompt_pb2.ROLE_USER: "user",
    prompt_pb2.ROLE_ASSISTANT: "assistant",
    prompt_pb2.ROLE_TOOL: "tool",
}
_CHOICES: dict[int, ToolChoice] = {
    prompt_pb2.TOOL_CHOICE_MODE_AUTO: ToolChoice("auto"),
    prompt_pb2.TOOL_CHOICE_MODE_NONE: ToolChoice("none"),
    prompt_pb2.TOOL_CHOICE_MODE_REQUIRED: ToolChoice("required"),
}
LARGEST_SEED = 2**63 - 1


def to_job(
    generation: request_pb2.GenerationRequest,
    hop: request_pb2.HopContext,
    offerings: Offerings,
    *,
    bounded: bool,
    trace_id: str,
    prefix: str = "generation.",
) -> Job:
    """Raises InvalidRequest with every wrong field, NotFound, Unsupported."""
    v = Violations()
    v.extend(check_generation(generation), prefix)
    model = generation.routing.model
    v.require(bool(model), f"{prefix}routing.model", "must be set: the proxy does not choose")
    if hop.HasField("attempts_left"):
        v.require(hop.attempts_left >= 1, "hop.attempts_left", f"must be at least 1, is {hop.attempts_left}")
    v.require(hop.first_sample_index >= 0, "hop.first_sample_index", "must not be negative")
    v.raise_if_any()
    offering = offerings.find(model)
    n = generation.sampling.n if generation.sampling.HasField("n") else 1
    request_id = generation.request_id or str(uuid.uuid4())
    return Job(
        generation=generation,
        offering=offering,
        call=to_call(generation, offering),
        request_id=request_id,
        # a caller from outside may use a request id twice; its attempts are still two
        attempt_id=hop.attempt_id or f"{request_id}/{hop.first_sample_index}/{uuid.uuid4().hex[:12]}",
        tenant=hop.tenant,
        n=n,
        first_index=hop.first_sample_index,
        attempts_left=hop.attempts_left if hop.HasField("attempts_left") else 1,
        reservation=Reservation(hop.reservation_id, n),
        bounded=bounded,
        trace_id=trace_id,
    )


def to_call(generation: request_pb2.GenerationRequest, offering: Offering) -> Call:
    """What goes to the provider. Raises Unsupported naming the first thing that the model cannot do."""
    lacks = _missing(generation, offering)
    if lacks:
        raise Unsupported(lacks, f"{offering.model} at {offering.provider}")
    sampling = generation.sampling
    given = sampling.HasField
    return Call(
        provider_model=offering.provider_model,
        turns=tuple(_turn(message) for message in generation.chat.messages),
        text=generation.text if generation.WhichOneof("prompt") == "text" else None,
        temperature=sampling.temperature if given("temperature") else None,
        top_p=sampling.top_p if given("top_p") else None,
        presence_penalty=sampling.presence_penalty if given("presence_penalty") else None,
        frequency_penalty=sampling.frequency_penalty if given("frequency_penalty") else None,
        max_tokens=sampling.max_tokens if given("max_tokens") else None,
        stop=tuple(sampling.stop),
        seed=sampling.seed if given("seed") else None,
        logprobs=sampling.logprobs,
        top_logprobs=sampling.top_logprobs,
        json_schema=sampling.json_schema if sampling.WhichOneof("constraint") == "json_schema" else "",
        tools=tuple(
            ToolSpec(tool.name, tool.description, tool.parameters_json_schema) for tool in generation.tools
        ),
        tool_choice=_choice(generation),
        prompt_bytes=generation.chat.ByteSize() + len(generation.text.encode()),
    )


def _missing(generation: request_pb2.GenerationRequest, offering: Offering) -> str:
    """The first capability that is asked for and not there; empty when all are."""
    can, sampling = offering.abilities, generation.sampling
    parts = [part for message in generation.chat.messages for part in message.parts]
    prompt = generation.WhichOneof("prompt")
    wishes = (
        ("token_ids prompts", prompt == "token_ids", ""),
        ("raw text prompts", prompt == "text", "completion"),
        ("chat prompts", prompt == "chat", "chat"),
        ("tools with a raw text prompt", prompt == "text" and bool(generation.tools), ""),
        ("images", any(part.WhichOneof("content") == "image" for part in parts), "image"),
        ("audio", any(part.WhichOneof("content") == "audio" for part in parts), ""),
        ("top_k", sampling.top_k > 0, ""),
        ("min_p", sampling.min_p > 0, ""),
        ("repetition_penalty", sampling.repetition_penalty not in (0, 1), ""),
        ("stop_token_ids", len(sampling.stop_token_ids) > 0, ""),
        ("return_token_ids", sampling.return_token_ids, ""),
        ("prompt_logprobs", sampling.HasField("prompt_logprobs"), ""),
        ("grammars", sampling.WhichOneof("constraint") == "grammar", ""),
        ("JSON schemas", sampling.WhichOneof("constraint") == "json_schema", "json_schema"),
        ("logprobs", sampling.logprobs, "logprobs"),
        ("seeds", sampling.HasField("seed"), "seed"),
        (f"seeds above {LARGEST_SEED}", sampling.seed > LARGEST_SEED, ""),
        ("tools", bool(generation.tools), "tools"),
    )
    return next((name for name, wished, needs in wishes if wished and needs not in can), "")


def _turn(message: prompt_pb2.Message) -> Turn:
    return Turn(
        role=_ROLES[message.role],
        parts=tuple(
            _picture(part.image) if part.WhichOneof("content") == "image" else part.text
            for part in message.parts
        ),
        name=message.name,
        tool_uses=tuple(ToolUse(call.id, call.name, call.arguments_json) for call in message.tool_calls),
        tool_call_id=message.tool_call_id,
    )


def _picture(media: prompt_pb2.Media) -> Picture:
    if media.WhichOneof("source") == "uri":
        return Picture(media.uri)
    return Picture(f"data:{media.mime_type};base64,{base64.b64encode(media.data).decode()}")


def _choice(generation: request_pb2.GenerationRequest) -> ToolChoice | None:
    if not generation.HasField("tool_choice"):
        return None
    if generation.tool_choice.mode == prompt_pb2.TOOL_CHOICE_MODE_NAMED:
        return ToolChoice("named", generation.tool_choice.name)
    return _CHOICES[generation.tool_choice.mode]


def embed_job(request: cloud_pb.EmbedRequest, offerings: Offerings, *, trace_id: str) -> Job:
    """A job of one, for its record and its place in line. Raises InvalidRequest, NotFound, Unsupported."""
    v = Violations()
    v.require(bool(request.model), "model", "must be set")
    v.require(len(request.texts) > 0, "texts", "must not be empty")
    for index, text in enumerate(request.texts):
        v.require(bool(text), f"texts[{index}]", "must not be empty")
    v.raise_if_any()
    offering = offerings.find(request.model)
    if "embed" not in offering.abilities:
        raise Unsupported("embeddings", f"{offering.model} at {offering.provider}")
    request_id = str(uuid.uuid4())
    size = sum(len(text.encode()) for text in request.texts)
    return Job(
        generation=request_pb2.GenerationRequest(),
        offering=offering,
        call=Call(offering.provider_model, prompt_bytes=size, max_tokens=0),
        request_id=request_id,
        attempt_id=request.hop.attempt_id or f"{request_id}/0/1",
        tenant=request.hop.tenant,
        n=1,
        first_index=0,
        attempts_left=1,
        reservation=Reservation(request.hop.reservation_id, 1),
        bounded=True,
        trace_id=trace_id,
    )
