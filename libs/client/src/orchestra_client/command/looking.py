"""Verbs that look: models, placements, phase, costs, cache, status."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ..orchestra import Orchestra
from . import services
from .terminal import dollars, number, print_table, short, visible, word

if TYPE_CHECKING:
    from google.protobuf.message import Message

_json = click.option("--json", "as_json", is_flag=True, help="JSON in place of tables.")


def _dump(found: Message | Iterable[Message]) -> None:
    from google.protobuf.message import Message as AnyMessage

    from ..rows import plain

    if isinstance(found, AnyMessage):
        click.echo(json.dumps(plain(found), indent=1))
    else:
        click.echo(json.dumps([plain(one) for one in found], indent=1))


@click.command()
@click.option("--serving", is_flag=True, help="Only those that answer now.")
@_json
@click.pass_obj
def models(router: str | None, serving: bool, as_json: bool) -> None:
    """List the models that can be asked for."""

    async def ask() -> Any:
        async with Orchestra(router) as mesh:
            return await mesh.models(serving_only=serving)

    found = asyncio.run(ask())
    if as_json:
        _dump(found)
        return
    from orchestra.generation.v1 import routing_pb2
    from orchestra.router.v1 import router_service_pb2 as pb

    rows = [
        (
            one.name,
            word(pb.Availability, one.availability),
            word(routing_pb2.Tier, one.tier),
            one.provider,
            one.replicas or "–",
            number(one.tokens_per_second, 1) if one.HasField("tokens_per_second") else "–",
            ", ".join(one.aliases) or one.availability_reason,
        )
        for one in sorted(found, key=lambda one: (one.availability, one.name))
    ]
    head = ("model", "state", "tier", "provider", "replicas", "tokens/s", "also known as / why not")
    print_table(head, rows, numeric=(4, 5), empty="no model")


@click.command()
@_json
@click.pass_obj
def placements(router: str | None, as_json: bool) -> None:
    """Show which model is on which node."""
    found = asyncio.run(services.placements(router))
    if as_json:
        _dump(found)
        return
    from orchestra.models.v1 import model_pb2

    rows = [
        (
            one.model,
            word(model_pb2.PlacementState, one.state),
            one.node_id,
            one.worker.address,
            f"{one.worker.slots_free} of {one.worker.slots_total}" if one.worker.slots_total else "–",
            one.worker.queued,
            number(one.worker.tokens_per_second, 1) if one.worker.HasField("tokens_per_second") else "–",
            f"{one.worker.engine} {one.worker.quantization}".strip(),
            one.state_reason,
        )
        for one in found
    ]
    head = ("model", "state", "node", "worker", "slots free", "queued", "tokens/s", "engine", "why")
    print_table(head, rows, numeric=(5, 6), empty="no model is placed anywhere")


@click.command()
@click.option("--set", "name", help="Change to this phase.")
@_json
@click.pass_obj
def phase(router: str | None, name: str | None, as_json: bool) -> None:
    """Tell the training phase and what it wants, or change it."""
    found = asyncio.run(services.phase(router, name))
    if as_json:
        _dump(found)
        return
    now = found.status
    name_now = now.phase.name or "no phase: every placed model serves all the time"
    click.echo(visible(f"{name_now}  {now.phase.purpose}").rstrip())
    if now.wanted:
        click.echo(visible(f"  wants     {', '.join(now.wanted)}"))
    for model, why in sorted(now.unplaced.items()):
        click.echo(visible(f"  unplaced  {model}: {why}"))
    if now.next:
        at = f" at {now.next_at.ToJsonString()}" if now.HasField("next_at") else ""
        click.echo(visible(f"  next      {', '.join(now.next)}{at}"))
    others = [one.name for one in getattr(found, "phases", ()) if one.name != now.phase.name]
    if others:
        click.echo(visible(f"  others    {', '.join(others)}"))


@click.command()
@click.option(
    "--by",
    "group_by",
    multiple=True,
    default=("model",),
    show_default=True,
    help="tenant, run, phase, tier, provider, model, node, state or label:NAME.",
)
@click.option("--run", "run_id", default="", help="Only this run.")
@click.option("--model", default="", help="Only this model.")
@_json
@click.pass_obj
def costs(router: str | None, group_by: tuple[str, ...], run_id: str, model: str, as_json: bool) -> None:
    """Sum up what was spent and what the cache saved."""
    found = asyncio.run(services.costs(router, group_by, run_id=run_id, model=model))
    if as_json:
        _dump(found)
        return
    rows = [
        (
            *(key or "–" for key in one.keys),
            number(one.samples_finished),
            number(one.samples_failed),
            number(one.samples_from_cache),
            number(one.completion_tokens),
            dollars(one.cost_nanos),
            dollars(one.saved_nanos),
            number(one.attempts_of_unknown_cost) if one.attempts_of_unknown_cost else "",
        )
        for one in found
    ]
    head = (*group_by, "finished", "failed", "from cache", "tokens", "cost", "saved", "of unknown cost")
    print_table(head, rows, numeric=range(len(group_by), len(head)), empty="nothing was spent")


@click.command()
@_json
@click.pass_obj
def cache(router: str | None, as_json: bool) -> None:
    """Tell what the cache holds and what it has spared."""
    found = asyncio.run(services.cache_stats(router))
    if as_json:
        _dump(found)
        return
    share = f" ({found.draws_served / found.draws_wanted:.0%})" if found.draws_wanted else ""
    lines = [
        ("draws served", f"{found.draws_served:,} of {found.draws_wanted:,} asked for{share}"),
        ("saved", dollars(found.saved_nanos)),
        ("holds", f"{found.samples:,} draws in {found.sets:,} sets, {found.bytes / 1e6:,.1f} MB"),
        ("replays", f"{found.replays:,}"),
        ("store", found.store),
        ("since", found.since.ToJsonString() if found.HasField("since") else "–"),
    ]
    lines += [(f"missed: {why}", f"{count:,}") for why, count in sorted(found.misses_by_reason.items())]
    print_table((), lines)


@click.command()
@_json
@click.pass_obj
def status(router: str | None, as_json: bool) -> None:
    """Tell whether all is well.

    Exit code 1 when a service does not answer or a placed model does not serve.
    """
    found = asyncio.run(services.health(router))
    if as_json:
        click.echo(
            json.dumps({"services": [one.as_json() for one in found.services], "models": found.models})
        )
    else:
        rows = [
            (one.service, one.state, one.address, short(one.seconds), one.message) for one in found.services
        ]
        print_table(("service", "state", "address", "answered in", ""), rows, numeric=(3,))
        if found.models:
            click.echo()
            placed = [(one["model"], one["state"], one["node"], one["why"]) for one in found.models]
            print_table(("model", "state", "node", ""), placed)
    if not found.well:
        sys.exit(1)
