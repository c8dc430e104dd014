"""What was found about a node, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from .terminal import number, print_table, short, visible, word

if TYPE_CHECKING:
    from orchestra.inference.v1.node_pb2 import MeasuredSpeed, Node, Worker
    from orchestra.models.v1.model_pb2 import Model

    from .nodes import Check


def as_json(seen: Check, catalogue: dict[str, Model | None]) -> dict[str, Any]:
    """Everything, with the contract's own field names."""
    from ..rows import plain

    measured = []
    for worker, speed in seen.measured:
        entry = catalogue[worker.model]
        rows = list(_figures(seen.node, worker, speed, entry))
        given = {name: told for name, _, told, _ in rows if told is not None}
        measured.append({"model": worker.model, "declared": given, "measured": plain(speed)})
    failed = [
        {"model": name, "reason": error.reason, "message": error.message} for name, error in seen.failed
    ]
    return {"node": plain(seen.node), "models": measured, "failed": failed}


def show_devices(found: Node) -> None:
    """What the host computes on, and which engine that gets."""
    from orchestra.inference.v1 import node_pb2

    state = word(node_pb2.State, found.state)
    click.echo(visible(f"{found.node_id} at {found.address}, {state} {found.state_reason}").rstrip())
    rows = [
        (
            one.device_id,
            one.name,
            _gigabytes(one.memory_total_bytes if one.HasField("memory_total_bytes") else None),
            _gigabytes(one.memory_free_bytes if one.HasField("memory_free_bytes") else None),
            one.compute_capability or "–",
            "reserved" if one.reserved else one.engine or "none",
            "never used for models" if one.reserved else one.engine_reason,
        )
        for one in found.devices
    ]
    head = ("device", "name", "memory", "free", "capability", "engine", "why")
    print_table(head, rows, numeric=(2, 3), empty="it has no device")


def show_measured(found: Node, worker: Worker, speed: MeasuredSpeed, entry: Model | None) -> None:
    """Declared beside measured; `entry` is the catalogue's."""
    where = f"{worker.engine} on {', '.join(worker.device_ids)}"
    build = f" ({worker.engine_build})" if worker.engine_build else ""
    slots = f"{worker.slots_total} {'slot' if worker.slots_total == 1 else 'slots'}"
    click.echo(visible(f"\n{worker.model}: {where}{build}, {slots}"))
    if worker.expected_speed:
        click.echo(visible(f"  {worker.expected_speed}"))
    rows = [
        (label, _shown(unit, told), _shown(unit, seen))
        for _, (label, unit), told, seen in _figures(found, worker, speed, entry)
    ]
    print_table(("", "declared", "measured"), rows, numeric=(1, 2))


Figure = tuple[str, tuple[str, str], float | None, float | None]


def _figures(found: Node, worker: Worker, speed: MeasuredSpeed, entry: Model | None) -> Iterator[Figure]:
    """Name, label with unit, declared, measured; None: nobody said, nobody could measure."""
    texts = worker.capabilities.HasField("generate") and not worker.capabilities.generate
    unit = "texts/s" if texts else "tokens/s"
    promised = None
    if entry is not None and entry.HasField("declared_tokens_per_second") and not texts:
        promised = entry.declared_tokens_per_second
    for one in speed.at:
        label = f"{unit}, {one.parallel} at once"
        yield (
            f"per_second_{one.parallel}",
            (label, ""),
            promised if one.parallel == 1 else None,
            one.per_second,
        )
    first = speed.first_token.ToNanoseconds() / 1e9 if speed.HasField("first_token") else None
    prefill = speed.prefill_tokens_per_second if speed.HasField("prefill_tokens_per_second") else None
    yield "first_token_s", ("first token", "s"), None, first
    yield "prefill_tokens_per_second", ("prefill, tokens/s", ""), None, prefill
    load = speed.load.ToNanoseconds() / 1e9 if speed.HasField("load") else None
    yield "load_s", ("load", "s"), None, load
    yield "watts", ("watts", ""), _watts(found, worker), speed.watts if speed.HasField("watts") else None
    memory = float(speed.memory_bytes) if speed.HasField("memory_bytes") else None
    yield "memory_bytes", ("memory", "bytes"), _memory(worker, entry), memory


def _watts(found: Node, worker: Worker) -> float | None:
    """Of all the model's devices; None when one of them says nothing."""
    on = [one for one in found.devices if one.device_id in worker.device_ids]
    said = [one.watts_declared for one in on if one.HasField("watts_declared")]
    return sum(said) if said and len(said) == len(on) else None


def _memory(worker: Worker, entry: Model | None) -> float | None:
    variants = [one for one in (entry.variants if entry else ()) if one.HasField("memory_bytes")]
    same = [one for one in variants if one.quantization.lower() == worker.quantization.lower()]
    return float((same or variants)[0].memory_bytes) if same or len(variants) == 1 else None


def _shown(unit: str, value: float | None) -> str:
    if unit == "s":
        return short(value)
    return _gigabytes(value) if unit == "bytes" else number(value, 1)


def _gigabytes(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value / 1e9:,.1f} GB" if value >= 1e9 else f"{value / 1e6:,.0f} MB"
