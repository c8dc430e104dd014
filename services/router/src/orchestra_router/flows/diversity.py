"""How different answers are: measured in a child process, told as the contract says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestra.router.v1 import diversity_pb2, router_service_pb2
from orchestra_diversity import DiversityReport, Sample, select_diverse
from orchestra_errors import NoCapacity, OrchestraError, Unavailable, Violations

from ..ports import Diversity

MEASURES = ("lexical", "syntactic", "approach", "semantic", "combined")
WITHOUT_A_MODEL = ("lexical", "syntactic", "approach", "combined")
NO_EMBEDDINGS = "needs an embedding model in the mesh, and none is asked yet"
BUSY_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """`selected` are positions, or the given indexes, the most telling first."""

    report: diversity_pb2.DiversityReport
    selected: tuple[int, ...]


class MeasureFlow:
    """Measures and selects."""

    def __init__(self, diversity: Diversity) -> None:
        self._diversity = diversity

    def check_measures(self, measures: Sequence[str], found: Violations) -> None:
        """Note every measure that does not exist."""
        for position, name in enumerate(measures):
            found.require(
                name in MEASURES, f"measures[{position}]", f"{name!r} is none of {', '.join(MEASURES)}"
            )

    async def __call__(
        self, request: router_service_pb2.MeasureDiversityRequest
    ) -> router_service_pb2.MeasureDiversityResponse:
        """Raises InvalidRequest, NoCapacity when too many measure at once, Unavailable when it cannot be
        measured."""
        found = Violations()
        count = len(request.candidates)
        found.require(1 <= count <= 1024, "candidates", f"must be 1 to 1,024, are {count}")
        self.check_measures(request.measures, found)
        if request.HasField("select"):
            found.require(request.select >= 1, "select", f"must be at least 1, is {request.select}")
        found.raise_if_any()
        samples = [Sample(one.text, one.model, one.language or None) for one in request.candidates]
        measured = await self.measured(
            samples,
            request.measures,
            select=request.select if request.HasField("select") else 0,
            similarity=request.return_similarity,
        )
        return router_service_pb2.MeasureDiversityResponse(report=measured.report, selected=measured.selected)

    async def measured(
        self,
        samples: Sequence[Sample],
        measures: Sequence[str],
        *,
        select: int = 0,
        indexes: Sequence[int] | None = None,
        similarity: bool = False,
    ) -> Measured:
        """The report over at least one sample; `indexes` name the samples in groups and in the selection."""
        report = await self._measure(samples)
        names = list(range(len(samples))) if indexes is None else list(indexes)
        chosen = select_diverse(report.combined.similarity, select) if select else ()
        told = _told(report, samples, measures or WITHOUT_A_MODEL, names, similarity)
        return Measured(told, tuple(names[position] for position in chosen))

    async def _measure(self, samples: Sequence[Sample]) -> DiversityReport:
        from orchestra_diversity import DiversityBusy, DiversityFailed

        try:
            return await self._diversity.measure(samples)
        except DiversityBusy:
            raise NoCapacity("measuring diversity", BUSY_RETRY_S) from None
        except DiversityFailed as failed:
            raise Unavailable(f"the measuring of diversity ({failed})") from None
        except ValueError as wrong:
            found = Violations()
            found.add("candidates", str(wrong))
            found.raise_if_any()
            raise


def _told(
    report: DiversityReport,
    samples: Sequence[Sample],
    measures: Sequence[str],
    names: Sequence[int],
    similarity: bool,
) -> diversity_pb2.DiversityReport:
    told = diversity_pb2.DiversityReport(samples=len(samples), distinct_texts=len(report.equal_texts))
    for name in dict.fromkeys(measures):
        measure = getattr(report, name)
        if measure is None:
            told.not_measured[name] = NO_EMBEDDINGS
            continue
        one = told.measures.add(name=name, effective_number=measure.effective_number)
        if measure.mean_distance is not None:
            one.mean_distance = measure.mean_distance
        if similarity:
            one.similarity.extend(value for row in measure.similarity for value in row)
    for group in report.groups:
        if len(group) > 1:
            told.near_duplicates.add(indexes=[names[position] for position in group])
    for model in report.models:
        if model.model:
            told.contributions.add(
                model=model.model, samples=model.samples, effective_number_added=model.marginal
            )
    for reading in report.readings:
        told.read_as.add(
            extraction=reading.how, language=reading.language or "", parsed=reading.form == "ast"
        )
    return told


async def measured_or_why_not(
    measuring: MeasureFlow,
    samples: Sequence[Sample],
    measures: Sequence[str],
    *,
    select: int,
    indexes: Sequence[int],
) -> Measured:
    """For a summary behind samples that were already sent: a set that cannot be measured does not spoil
    them."""
    try:
        return await measuring.measured(samples, measures, select=select, indexes=indexes)
    except OrchestraError as error:
        report = diversity_pb2.DiversityReport(
            samples=len(samples), distinct_texts=len({sample.text for sample in samples})
        )
        for name in measures or WITHOUT_A_MODEL:
            report.not_measured[name] = error.message
        return Measured(report, tuple(indexes[:select]) if select >= len(samples) else ())
