"""What an item's finished samples leave in the cache: draws for others, and the replay record of its request
id."""

from __future__ import annotations

from collections.abc import Sequence

from orchestra.cache.v1 import cache_service_pb2 as cache_pb
from orchestra.generation.v1 import event_pb2

from ..domain.targets import Target
from .item import Item

Event = event_pb2.GenerationEvent
_WHOLE = frozenset(
    {
        event_pb2.FINISH_REASON_STOP,
        event_pb2.FINISH_REASON_STOP_SEQUENCE,
        event_pb2.FINISH_REASON_MAX_TOKENS,
        event_pb2.FINISH_REASON_TOOL_CALLS,
    }
)
"""An answer that ended so is whole for its key; a filtered one, or one that a full context cut, is not."""


class Keeping:
    """Gathers the events of an item's samples, by index."""

    def __init__(self, item: Item) -> None:
        self._item = item
        self._wanted = item.stores or item.replayable
        self._events: dict[int, list[Event]] = {}
        self._drawn_at: dict[int, Target] = {}
        self._whole: set[int] = set()

    def event(self, event: Event) -> None:
        """Note an event that was sent on; a second Started voids what came before."""
        if not self._wanted or event.HasField("heartbeat"):
            return
        if event.HasField("started"):
            self._events[event.sample_index] = [event]
        else:
            self._events.setdefault(event.sample_index, []).append(event)

    def drawn(self, index: int, target: Target, done: event_pb2.Finished) -> None:
        """The sample finished at `target`."""
        self._drawn_at[index] = target
        if done.reason in _WHOLE:
            self._whole.add(index)

    def stored(self, index: int) -> None:
        """The sample is a stored draw: it is replayed but not stored again."""
        self._whole.add(index)

    def requests(self) -> list[cache_pb.StoreRequest]:
        """What to store: one request for each target's draws, the first of which closes the replay record."""
        if not self._wanted:
            return []
        by_set: dict[tuple[str, str], list[int]] = {}
        for index, target in self._drawn_at.items():
            if index in self._whole and self._item.stores and target.revision:
                by_set.setdefault((target.model, target.revision), []).append(index)
        stores = [self._store(self._drawn_at[indexes[0]], indexes) for indexes in by_set.values()]
        whole = range(self._item.first, self._item.first + self._item.n)
        if self._item.owns_replay and all(index in self._whole for index in whole):
            if not stores:
                stores = [self._replay_only()]
            stores[0].request_id = self._item.request_id
            stores[0].payload_digest = self._item.digest
            stores[0].replay_samples.extend(self._sample(index) for index in whole)
        return stores

    def _store(self, target: Target, indexes: Sequence[int]) -> cache_pb.StoreRequest:
        return cache_pb.StoreRequest(
            subject=subject(self._item, target),
            samples=[self._sample(index) for index in sorted(indexes)],
            rollout_id=self._item.generation.rollout_id,
        )

    def _replay_only(self) -> cache_pb.StoreRequest:
        target = next(iter(self._drawn_at.values()), Target(""))
        return cache_pb.StoreRequest(
            subject=subject(self._item, target), rollout_id=self._item.generation.rollout_id, replay_only=True
        )

    def _sample(self, index: int) -> cache_pb.StoredSample:
        events = merged(self._events[index])
        sample = cache_pb.StoredSample(events=events)
        for event in sample.events:
            event.sample_index = 0
            if event.HasField("finished"):
                sample.sample_id = event.finished.provenance.sample_id
        return sample


def subject(item: Item, target: Target) -> cache_pb.Subject:
    """What a draw of `item` at `target` is a draw of."""
    return cache_pb.Subject(
        tenant=item.tenant,
        generation=item.generation,
        model=target.model,
        revision=target.revision,
        provider=target.provider,
        engine=target.engine,
    )


def merged(events: Sequence[Event]) -> list[Event]:
    """Copies in order, deltas that follow each other joined into one of their kind."""
    out: list[Event] = []
    texts: list[str] = []
    for event in events:
        kind = event.WhichOneof("event")
        if out and kind == out[-1].WhichOneof("event") and kind in ("text_delta", "reasoning_delta"):
            _join(out[-1], event, kind, texts)
            continue
        _close(out, texts)
        copy = Event()
        copy.CopyFrom(event)
        out.append(copy)
        if kind == "text_delta":
            texts = [event.text_delta.text]
        elif kind == "reasoning_delta":
            texts = [event.reasoning_delta.text]
    _close(out, texts)
    return out


def _join(into: Event, event: Event, kind: str, texts: list[str]) -> None:
    if kind == "text_delta":
        texts.append(event.text_delta.text)
        into.text_delta.token_ids.extend(event.text_delta.token_ids)
        into.text_delta.logprobs.extend(event.text_delta.logprobs)
        into.text_delta.top_logprobs.extend(event.text_delta.top_logprobs)
    else:
        texts.append(event.reasoning_delta.text)
        into.reasoning_delta.token_ids.extend(event.reasoning_delta.token_ids)
        into.reasoning_delta.logprobs.extend(event.reasoning_delta.logprobs)


def _close(out: list[Event], texts: list[str]) -> None:
    # the texts are joined once at the end: joining at each token would copy the answer again and again
    if len(texts) > 1:
        last = out[-1]
        if last.HasField("text_delta"):
            last.text_delta.text = "".join(texts)
        else:
            last.reasoning_delta.text = "".join(texts)
    texts.clear()
