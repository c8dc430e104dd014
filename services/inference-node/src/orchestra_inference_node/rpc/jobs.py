"""A GenerationRequest as the work of this worker. Names everything that is wrong or cannot be done."""

from __future__ import annotations

import uuid

from orchestra.generation.v1 import prompt_pb2, request_pb2
from orchestra.generation.v1.sampling_pb2 import Sampling
from orchestra_errors import InvalidRequest, NotFound, Unsupported, Violations, WrongInstance
from orchestra_inference_node.domain.admission import Rank
from orchestra_inference_node.domain.drawing import ChatMessage, Draw
from orchestra_inference_node.flows.request import Job, Sample
from orchestra_inference_node.ports import Engine, EngineFacts
from orchestra_requests import (
    check_generation,
    is_neutral,
    random_seed,
    sampling_defaults,
    seed_in_range,
    seed_of_sample,
)

MAX_N = 4096
_RANKS = {
    request_pb2.PRIORITY_LOW: Rank.LOW,
    request_pb2.PRIORITY_NORMAL: Rank.NORMAL,
    request_pb2.PRIORITY_HIGH: Rank.HIGH,
}
_ROLES = {
    prompt_pb2.ROLE_SYSTEM: "system",
    prompt_pb2.ROLE_USER: "user",
    prompt_pb2.ROLE_ASSISTANT: "assistant",
    prompt_pb2.ROLE_TOOL: "tool",
}


class Jobs:
    """Makes jobs for one engine that holds one model."""

    def __init__(self, engine: Engine, model: str, instance_id: str) -> None:
        self._engine = engine
        self._model = model
        self._instance_id = instance_id

    @property
    def seeded(self) -> bool:
        """Whether the engine draws by the seeds that it is given."""
        return "seed" not in self._engine.facts.missing_sampling

    def check(self, generation: request_pb2.GenerationRequest, hop: request_pb2.HopContext) -> None:
        """Raises WrongInstance, NotFound, InvalidRequest with every violation, or Unsupported."""
        expected = hop.expected_instance_id
        if expected and expected != self._instance_id:
            raise WrongInstance(expected, self._instance_id)
        found = Violations()
        found.extend(check_generation(generation), "generation.")
        if not expected:
            # a caller that chose this very process has resolved names and wishes already
            found.require(bool(generation.routing.model), "generation.routing.model", "must be set")
        found.require(hop.first_sample_index >= 0, "hop.first_sample_index", "must not be negative")
        found.raise_if_any()
        if not expected and generation.routing.model != self._model:
            raise NotFound("model", generation.routing.model, [self._model])
        missing = missing_capabilities(generation, self._engine.facts)
        if missing:
            raise Unsupported(", ".join(missing), self._model)

    async def make(
        self,
        generation: request_pb2.GenerationRequest,
        hop: request_pb2.HopContext,
        deadline: float | None,
        *,
        one_of_many: bool = False,
    ) -> Job:
        """The checked request with its prompt in tokens.

        Raises what `check` does, and what tokenizing finds.
        """
        self.check(generation, hop)
        ids = await self._tokens(generation)
        limit = self._engine.facts.context_tokens
        if len(ids) >= limit:
            field = f"generation.{generation.WhichOneof('prompt')}"
            raise InvalidRequest.of(
                field,
                f"has {len(ids)} tokens; with an answer of at least one the context of {limit} is too small",
            )
        sampling = sampling_defaults(generation.sampling)
        base = sampling.seed if sampling.HasField("seed") else random_seed()
        samples = []
        for position in range(sampling.n):
            index = hop.first_sample_index + position
            seed = seed_in_range(seed_of_sample(base, index, sampling.n))
            draw = _draw(sampling, ids, seed, repeats=generation.sampling.HasField("seed"))
            samples.append(Sample(index, uuid.uuid4().hex, draw))
        rank = _RANKS.get(generation.priority, Rank.NORMAL)
        alone = sampling.n == 1 and not one_of_many
        return Job(tuple(samples), rank, deadline, alone)

    async def _tokens(self, generation: request_pb2.GenerationRequest) -> tuple[int, ...]:
        match generation.WhichOneof("prompt"):
            case "token_ids":
                return tuple(generation.token_ids.ids)
            case "chat":
                return await self._engine.tokenize(chat_messages(generation.chat))
            case _:
                return await self._engine.tokenize(generation.text)


def chat_messages(chat: prompt_pb2.Chat) -> tuple[ChatMessage, ...]:
    """Text parts joined; other parts have been refused."""
    return tuple(
        ChatMessage(_ROLES[message.role], "".join(part.text for part in message.parts), message.name)
        for message in chat.messages
    )


def missing_capabilities(generation: request_pb2.GenerationRequest, facts: EngineFacts) -> list[str]:
    """What the request asks for and the engine lacks, by the contract's names."""
    sampling = generation.sampling
    parts = [part.WhichOneof("content") for message in generation.chat.messages for part in message.parts]
    asked = {
        "generate": not facts.generate,
        "chat": generation.HasField("chat") and not facts.chat,
        "images": "image" in parts,
        "audio": "audio" in parts,
        "tools": bool(generation.tools) or any(turn.tool_calls for turn in generation.chat.messages),
        "token_ids prompt": generation.HasField("token_ids") and not facts.token_ids_in,
        "return_token_ids": sampling.return_token_ids and not facts.token_ids_out,
        "logprobs": sampling.logprobs and not facts.logprobs,
        f"top_logprobs above {facts.max_top_logprobs}": sampling.top_logprobs > facts.max_top_logprobs,
        "prompt_logprobs": sampling.HasField("prompt_logprobs") and not facts.prompt_logprobs,
        "json_schema": sampling.HasField("json_schema") and not facts.json_schema,
        "grammar": sampling.HasField("grammar") and not facts.grammar,
    }
    missing = [name for name, lacking in asked.items() if lacking]
    return missing + [name for name in facts.missing_sampling if not is_neutral(sampling, name)]


def _draw(sampling: Sampling, ids: tuple[int, ...], seed: int, *, repeats: bool) -> Draw:
    """`repeats`: the caller named the seed, to get the same again."""
    return Draw(
        prompt_ids=ids,
        seed=seed,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        max_tokens=sampling.max_tokens if sampling.HasField("max_tokens") else None,
        stop=tuple(sampling.stop),
        stop_token_ids=tuple(sampling.stop_token_ids),
        logprobs=sampling.logprobs,
        top_logprobs=sampling.top_logprobs,
        token_ids=sampling.return_token_ids,
        json_schema=sampling.json_schema if sampling.HasField("json_schema") else None,
        grammar=sampling.grammar if sampling.HasField("grammar") else None,
        prompt_logprobs=sampling.prompt_logprobs if sampling.HasField("prompt_logprobs") else None,
        fresh=repeats,
    )
