"""An answer on its way to whoever asked: a terminal, a pipe, or a program that reads JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Protocol

import click

from ..events import Event, Failed, Finished, Heartbeat, ReasoningDelta, Started, TextDelta, ToolCallDelta
from ..sample import Sample
from .terminal import Cleaner, dollars, number, print_table, short, visible

if TYPE_CHECKING:
    from orchestra.router.v1.router_service_pb2 import DiverseSummary


class Shown(Protocol):
    """Told of what comes, in order."""

    def event(self, event: Event) -> None: ...
    def summary(self, summary: DiverseSummary) -> None: ...
    def end(self, trace_id: str) -> None: ...


def shower(as_json: bool, *, several: bool) -> Shown:
    """For whoever reads standard output now."""
    if as_json:
        return JsonLines()
    return Whole() if several else Live()


class JsonLines:
    """A JSON object per line, each with its `event`."""

    def event(self, event: Event) -> None:
        self._line(_as_json(event))

    def summary(self, summary: DiverseSummary) -> None:
        from ..rows import plain

        self._line({"event": "summary", **plain(summary)})

    def end(self, trace_id: str) -> None:
        return

    def _line(self, found: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(found, ensure_ascii=True) + "\n")
        sys.stdout.flush()


def _as_json(event: Event) -> dict[str, Any]:
    from ..rows import plain

    match event:
        case Finished():
            return {"event": "finished", **event.sample.row()}
        case Failed():
            error = {"reason": event.error.reason, "message": event.error.message}
            return {"event": "failed", "sample_index": event.index, "error": error, "text": event.text}
        case Started():
            found = {"provenance": plain(event.provenance), "again": event.again}
            return {"event": "started", "sample_index": event.index, **found}
        case TextDelta():
            return {"event": "text_delta", "sample_index": event.index, "text": event.text}
        case ReasoningDelta():
            return {"event": "reasoning_delta", "sample_index": event.index, "text": event.text}
        case ToolCallDelta():
            call = {"call_index": event.call_index, "id": event.id, "name": event.name}
            return {"event": "tool_call_delta", "sample_index": event.index, **call} | {
                "arguments_json": event.arguments_json
            }
        case Heartbeat():
            found = {"activity": event.activity, "elapsed_s": event.elapsed, "ahead": event.ahead}
            found |= {"prompt_tokens_done": event.done, "prompt_tokens_total": event.total}
            return {"event": "heartbeat", "sample_index": event.index, **found}


class Live:
    """One sample, token by token."""

    def __init__(self) -> None:
        self._clean = Cleaner() if sys.stdout.isatty() else None
        self._thoughts = Cleaner()
        self._waiting = False

    def event(self, event: Event) -> None:
        match event:
            case TextDelta():
                self._answering()
                sys.stdout.write(self._clean.clean(event.text) if self._clean else event.text)
                sys.stdout.flush()
            case ReasoningDelta():
                self._answering()
                _aside(self._thoughts.clean(event.text), newline=False)
            case Heartbeat() if sys.stderr.isatty():
                ahead = f", {event.ahead} ahead" if event.ahead else ""
                click.echo(f"\r\x1b[K{event.activity.replace('_', ' ')}{ahead} …", nl=False, err=True)
                self._waiting = True
            case Started() if event.again:
                self._answering()
                _aside("\n-- begun again --")
            case Finished():
                self._answering()
                if event.sample.text or sys.stdout.isatty():
                    sys.stdout.write("\n")
                    sys.stdout.flush()
                for call in event.sample.tool_calls:
                    click.echo(visible(f"{call.name}({call.arguments_json})"))
                _aside(facts(event.sample))

    def summary(self, summary: DiverseSummary) -> None:
        return

    def end(self, trace_id: str) -> None:
        _aside(f"trace {trace_id}")

    def _answering(self) -> None:
        if self._waiting:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._waiting = False


class Whole:
    """Several samples, each when it is whole."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()

    def event(self, event: Event) -> None:
        match event:
            case Finished():
                sample = event.sample
                title = visible(f"── {sample.index} · {facts(sample)}")
                click.secho(title, dim=True) if self._terminal else click.echo(title)
                click.echo(visible(sample.text) if self._terminal else sample.text)
            case Failed():
                click.secho(visible(f"── {event.index} · failed: {event.error.message}"), fg="red", err=True)

    def summary(self, summary: DiverseSummary) -> None:
        report = summary.diversity
        click.echo()
        chosen = ", ".join(str(index) for index in summary.selected)
        words = f"{summary.finished} samples, {report.distinct_texts} distinct"
        cost = dollars(summary.cost.nanos) if summary.cost.HasField("nanos") else "cost unknown"
        click.echo(f"{words} · {cost} · selected {chosen}" if chosen else f"{words} · {cost}")
        rows = [
            (
                one.name,
                number(one.effective_number, 2),
                number(one.mean_distance, 2) if one.HasField("mean_distance") else "–",
            )
            for one in report.measures
        ]
        print_table(("measure", f"different of {report.samples}", "mean distance"), rows, numeric=(1, 2))
        for name, why in report.not_measured.items():
            _aside(visible(f"{name}: not measured, {why}"))

    def end(self, trace_id: str) -> None:
        _aside(f"trace {trace_id}")


def facts(sample: Sample) -> str:
    """Where a sample comes from and what it cost, in one line."""
    provenance = sample.provenance
    stored = provenance.cache.stored_total
    where = [
        sample.model,
        provenance.node_id or provenance.provider,
        f"stored draw {provenance.cache.stored_position} of {stored}" if stored else "",
        f"{sample.usage.completion_tokens} tokens" if sample.usage.HasField("completion_tokens") else "",
        short(sample.timings.total.ToNanoseconds() / 1e9) if sample.timings.HasField("total") else "",
        dollars(sample.cost_nanos) if sample.cost_nanos is not None else "cost unknown",
        f"ended by {sample.finish_reason.replace('_', ' ')}",
        f"sample {sample.sample_id}",
    ]
    return visible(" · ".join(filter(None, where)))


def _aside(words: str, *, newline: bool = True) -> None:
    """Beside the answer: dimmed where somebody looks."""
    if sys.stderr.isatty():
        click.secho(words, dim=True, err=True, nl=newline)
    else:
        click.echo(words, err=True, nl=newline)
