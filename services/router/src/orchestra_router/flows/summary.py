"""What a diverse request gathers while its samples pass."""

from __future__ import annotations

from orchestra.generation.v1 import event_pb2, usage_pb2
from orchestra_diversity import Sample

from ..ports import Event


class Gathering:
    """Texts, ends and costs by sample index."""

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self.finished: dict[int, event_pb2.Finished] = {}
        self.failed: dict[int, event_pb2.SampleFailed] = {}

    def take(self, event: Event) -> None:
        index = event.sample_index
        match event.WhichOneof("event"):
            case "text_delta":
                self._texts.setdefault(index, []).append(event.text_delta.text)
            case "started":
                self._texts[index] = []
            case "finished":
                self.finished[index] = event.finished
            case "sample_failed":
                self.failed[index] = event.sample_failed

    @property
    def order(self) -> list[int]:
        """Indexes of the finished samples, ascending."""
        return sorted(self.finished)

    def samples(self) -> list[Sample]:
        """The finished samples, in that order."""
        return [
            Sample("".join(self._texts.get(index, ())), self.finished[index].provenance.model)
            for index in self.order
        ]

    def costs(self) -> list[usage_pb2.Cost]:
        """Of every sample that cost something or may have; of one that began and failed it may be unknown."""
        unknown = usage_pb2.Cost(state=usage_pb2.COST_STATE_UNKNOWN)
        began = [one for one in self.failed.values() if one.HasField("cost") or one.HasField("provenance")]
        failed = [one.cost if one.HasField("cost") else unknown for one in began]
        return [one.cost for one in self.finished.values()] + failed
