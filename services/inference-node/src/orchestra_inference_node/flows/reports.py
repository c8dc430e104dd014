"""What a worker says of itself, noted."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from orchestra_errors import FieldViolation, rebuild
from orchestra_inference_node.domain.resident import Resident, Stage, State

log = structlog.get_logger()


def note(resident: Resident, report: Mapping[str, object], now: float) -> str:
    """What the report changes of the resident; the reason in it when the worker says why it fails. `now` is
    monotonic."""
    match report:
        case {"at": "loading"}:
            resident.stage = Stage.LOADING_WEIGHTS
        case {"at": "moved", **moved}:
            resident.loaded(moved)
        case {"at": "warming"}:
            resident.stage = Stage.WARMING_UP
            resident.bytes_done = resident.bytes_total
        case {"at": "ready", "address": str(address), "facts": dict(facts)}:
            if resident.state is not State.DRAINING:
                resident.serves(address, facts, now)
                log.info("model serves", model=resident.wanted.model, address=address)
        case {"at": "status", "slots_free": int(free), "queued": int(queued)}:
            resident.slots_free, resident.queued = free, queued
            speed = report.get("tokens_per_second")
            resident.tokens_per_second = speed if isinstance(speed, float) else None
            resident.busy(report.get("calls"), report.get("tasks"))
        case {"at": "cut", "calls": int(calls)}:
            resident.cut_calls = calls
        case {"at": "failed", "why": str(why), "kind": dict(kind)}:
            fields = [FieldViolation(*one) for one in kind["fields"]]
            resident.failure = rebuild(kind["reason"], why, kind["metadata"], None, fields, kind["code"])
            return why
        case {"at": "failed", "why": str(why)}:
            return why
    return ""
