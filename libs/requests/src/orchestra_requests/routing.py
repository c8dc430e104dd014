"""Routing and cache policy: known enum values, and wishes that do not exclude each other."""

from __future__ import annotations

from collections.abc import Sequence

from orchestra.generation.v1 import request_pb2, routing_pb2
from orchestra_errors import Violations


def check_routing(routing: routing_pb2.Routing, v: Violations) -> None:
    """Note every contradiction; whether the names exist is the router's to say."""
    v.require(not (routing.model and routing.candidates), "candidates", "excludes model")
    v.require(not (routing.model and routing.objective), "objective", "excludes model")
    for i, name in enumerate(routing.candidates):
        v.require(bool(name), f"candidates[{i}]", "must not be empty")
    _known(v, "objective", routing.objective, routing_pb2.Objective.values(), absent_allowed=True)
    for i, tier in enumerate(routing.tiers):
        _known(v, f"tiers[{i}]", tier, routing_pb2.Tier.values())
    if routing.local_only and routing.tiers:
        v.require(routing_pb2.TIER_LOCAL in routing.tiers, "tiers", "leave nothing that local_only allows")
    if routing.HasField("max_cost_nanos"):
        v.require(
            routing.max_cost_nanos >= 0,
            "max_cost_nanos",
            f"must not be negative, is {routing.max_cost_nanos}",
        )
    for i, name in enumerate(routing.fallback):
        v.require(bool(name), f"fallback[{i}]", "must not be empty")
    substitution = routing.allow_substitution if routing.HasField("allow_substitution") else not routing.model
    v.require(substitution or not routing.fallback, "fallback", "needs allow_substitution")


def check_cache(cache: request_pb2.CachePolicy, v: Violations) -> None:
    """Note an unknown mode and ages or counts that cannot be."""
    _known(v, "mode", cache.mode, request_pb2.CacheMode.values(), absent_allowed=True)
    if cache.HasField("max_age"):
        age = cache.max_age
        v.require(age.seconds >= 0 and age.nanos >= 0, "max_age", "must not be negative")
    v.require(cache.min_distinct >= 0, "min_distinct", f"must not be negative, is {cache.min_distinct}")


def check_priority(priority: int, v: Violations) -> None:
    """Note a priority that this build does not know."""
    _known(v, "priority", priority, request_pb2.Priority.values(), absent_allowed=True)


def _known(
    v: Violations, field: str, value: int, values: Sequence[int], *, absent_allowed: bool = False
) -> None:
    if value == 0:
        v.require(absent_allowed, field, "must not be UNSPECIFIED")
    else:
        v.require(value in values, field, f"unknown value {value}")
