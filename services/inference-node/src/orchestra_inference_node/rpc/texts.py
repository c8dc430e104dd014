"""Score and Embed: proto in, texts or tokens for the engine, proto out. Names everything that is wrong."""

from __future__ import annotations

from orchestra.generation.v1 import embedding_pb2, event_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import InvalidRequest, NotFound, Unsupported, Violations, WrongInstance
from orchestra_inference_node.domain.drawing import Embedded
from orchestra_inference_node.flows.texts import Scoring, TextsFlow
from orchestra_inference_node.rpc.events import fill_delta
from orchestra_inference_node.rpc.jobs import chat_messages
from orchestra_requests.prompt import check_chat

MAX_TEXTS = 2048
MAX_TOP = 20
# tokens of one Score call: at a few hundred a second more would outlast any deadline
MAX_TOKENS = 262_144


class Texts:
    """Answers for one engine that holds one model."""

    def __init__(self, flow: TextsFlow, model: str, revision: str, instance_id: str) -> None:
        self._flow = flow
        self._model = model
        self._revision = revision
        self._instance_id = instance_id

    async def embed(self, request: pb.EmbedRequest, deadline: float | None) -> pb.EmbedResponse:
        """Raises WrongInstance, NotFound, Unsupported, InvalidRequest with every violation, NoCapacity."""
        found = Violations()
        self._check_target(request.model, request.expected_instance_id, found)
        check_texts(request, found)
        found.raise_if_any()
        self._check_model(request.model, request.expected_instance_id)
        if not self._flow.engine.facts.embeddings:
            raise Unsupported("embeddings", self._model)
        vectors = await self._flow.embed(request.texts, deadline)
        return pb.EmbedResponse(
            embeddings=[_embedding(vector) for vector in vectors],
            model=self._model,
            revision=self._revision,
        )

    async def score(self, request: pb.ScoreRequest, deadline: float | None) -> pb.ScoreResponse:
        """Raises what `embed` does."""
        found = Violations()
        self._check_target(request.model, request.expected_instance_id, found)
        found.require(
            1 <= len(request.items) <= MAX_TEXTS,
            "items",
            f"must be 1 to {MAX_TEXTS}, are {len(request.items)}",
        )
        found.require(
            0 <= request.top_logprobs <= MAX_TOP,
            "top_logprobs",
            f"must be 0 to {MAX_TOP}, is {request.top_logprobs}",
        )
        for position, item in enumerate(request.items):
            _check_item(item, f"items[{position}].", found)
        found.raise_if_any()
        self._check_model(request.model, request.expected_instance_id)
        facts = self._flow.engine.facts
        if not facts.score:
            raise Unsupported("score", self._model)
        if not facts.chat and any(item.HasField("chat") for item in request.items):
            raise Unsupported("chat", self._model)
        items = [await self._tokens(item, f"items[{at}].") for at, item in enumerate(request.items)]
        self._check_lengths(items)
        targets = []
        for piece in await self._flow.score(items, request.top_logprobs, deadline):
            delta = event_pb2.TextDelta()
            fill_delta(delta, piece)
            targets.append(delta)
        return pb.ScoreResponse(targets=targets, model=self._model, revision=self._revision)

    def _check_target(self, model: str, expected: str, found: Violations) -> None:
        if expected and expected != self._instance_id:
            raise WrongInstance(expected, self._instance_id)
        found.require(bool(model or expected), "model", "must be set")

    def _check_model(self, model: str, expected: str) -> None:
        if not expected and model != self._model:
            raise NotFound("model", model, [self._model])

    def _check_lengths(self, items: list[Scoring]) -> None:
        found = Violations()
        limit = self._flow.engine.facts.context_tokens
        for position, item in enumerate(items):
            found.require(bool(item.prompt_ids), f"items[{position}].context", "has no tokens")
            found.require(bool(item.target_ids), f"items[{position}].target", "has no tokens")
            length = len(item.prompt_ids) + len(item.target_ids)
            found.require(
                length <= limit,
                f"items[{position}]",
                f"has {length} tokens with its target; the context is {limit}",
            )
        total = sum(len(item.prompt_ids) + len(item.target_ids) for item in items)
        found.require(
            total <= MAX_TOKENS, "items", f"have {total} tokens; one call takes at most {MAX_TOKENS}"
        )
        found.raise_if_any()

    async def _tokens(self, item: pb.ScoreItem, prefix: str) -> Scoring:
        """Raises InvalidRequest for what the engine refuses, with `prefix` before its fields."""
        try:
            return await self._tokenized(item)
        except InvalidRequest as error:
            found = Violations()
            found.extend(error, prefix)
            raise InvalidRequest(found.found) from error

    async def _tokenized(self, item: pb.ScoreItem) -> Scoring:
        engine = self._flow.engine
        match item.WhichOneof("context"):
            case "token_ids":
                prompt = tuple(item.token_ids.ids)
            case "chat":
                prompt = await engine.tokenize(chat_messages(item.chat))
            case _:
                prompt = await engine.tokenize(item.text)
        if item.HasField("target_text"):
            target = await engine.tokenize(item.target_text, special=False)
        else:
            target = tuple(item.target_token_ids.ids)
        return Scoring(prompt, target)


def check_texts(request: pb.EmbedRequest, found: Violations) -> None:
    """Note a wrong number of texts, and every empty one."""
    found.require(
        1 <= len(request.texts) <= MAX_TEXTS, "texts", f"must be 1 to {MAX_TEXTS}, are {len(request.texts)}"
    )
    for position, text in enumerate(request.texts):
        found.require(bool(text), f"texts[{position}]", "must not be empty")


def _check_item(item: pb.ScoreItem, prefix: str, found: Violations) -> None:
    context = item.WhichOneof("context")
    found.require(context is not None, f"{prefix}context", "must be set: chat, text or token_ids")
    if context == "chat":
        inner = Violations()
        check_chat(item.chat, inner)
        found.extend(inner, prefix)
    if context == "token_ids":
        found.require(bool(item.token_ids.ids), f"{prefix}token_ids", "must not be empty")
    target = item.WhichOneof("target")
    found.require(target is not None, f"{prefix}target", "must be set: target_text or target_token_ids")
    if target == "target_text":
        found.require(bool(item.target_text), f"{prefix}target_text", "must not be empty")
    if target == "target_token_ids":
        found.require(bool(item.target_token_ids.ids), f"{prefix}target_token_ids", "must not be empty")


def _embedding(vector: Embedded) -> embedding_pb2.Embedding:
    return embedding_pb2.Embedding(values=vector.values, tokens=vector.tokens)
