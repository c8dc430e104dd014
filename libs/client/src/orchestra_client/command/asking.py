"""Verbs that ask: generate, diverse, explain."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click

from ..ask import Ask
from ..orchestra import Orchestra
from .showing import Shown, shower
from .wishes import asked, wishes

_json = click.option("--json", "as_json", is_flag=True, help="A JSON object per line, for programs.")


@click.command()
@wishes
@_json
@click.pass_obj
def generate(router: str | None, /, as_json: bool, **given: Any) -> None:
    """Ask one model, and see its tokens as they come.

    The answer goes to standard output; where it comes from, what it cost and its trace id to standard error.
    """
    ask = asked(**given)
    asyncio.run(_generate(router, ask, shower(as_json, several=(ask.n or 1) > 1)))


async def _generate(router: str | None, ask: Ask, shown: Shown) -> None:
    async with Orchestra(router) as mesh, mesh.generate(ask) as answer:
        async for event in answer:
            shown.event(event)
        shown.end(answer.trace_id)
    if answer.failures:
        raise answer.failures[0].error


@click.command()
@wishes
@click.option(
    "--plan", multiple=True, metavar="MODEL=COUNT", help="So many samples from that model; may be repeated."
)
@click.option("--select", type=int, help="Of the samples, choose this many of the most diverse.")
@click.option(
    "--measure", "measures", multiple=True, help="lexical, syntactic, approach, semantic, combined."
)
@_json
@click.pass_obj
def diverse(
    router: str | None,
    /,
    as_json: bool,
    plan: tuple[str, ...],
    select: int | None,
    measures: tuple[str, ...],
    **given: Any,
) -> None:
    """Ask several models, and see how different their answers are."""
    ask = asked(**given)
    asyncio.run(_diverse(router, ask, _plan(plan), select, measures, shower(as_json, several=True)))


async def _diverse(
    router: str | None,
    ask: Ask,
    plan: dict[str, int],
    select: int | None,
    measures: tuple[str, ...],
    shown: Shown,
) -> None:
    async with (
        Orchestra(router) as mesh,
        mesh.diverse(ask, plan=plan, select=select, measures=measures) as answer,
    ):
        async for event in answer:
            shown.event(event)
        if answer.summary is not None:
            shown.summary(answer.summary)
        shown.end(answer.trace_id)
    if answer.failures:
        raise answer.failures[0].error


def _plan(words: tuple[str, ...]) -> dict[str, int]:
    plan: dict[str, int] = {}
    for word in words:
        model, equals, count = word.rpartition("=")
        if not equals or not model or not count.isdigit():
            raise click.UsageError(f"--plan {word}: say MODEL=COUNT")
        plan[model] = int(count)
    return plan


@click.command()
@wishes
@_json
@click.pass_obj
def explain(router: str | None, /, as_json: bool, **given: Any) -> None:
    """Tell which model would answer, and why, without asking it."""
    found = asyncio.run(_explain(router, asked(**given)))
    if as_json:
        from ..rows import plain

        click.echo(json.dumps(plain(found)))
        return
    from .terminal import dollars, number, print_table, short, visible

    rows = [
        (
            str(one.rank) if one.eligible else "–",
            one.model,
            one.node_id or one.provider,
            "yes" if one.eligible else "no",
            number(one.score, 3) if one.HasField("score") else "–",
            dollars(one.estimated_cost_nanos) if one.HasField("estimated_cost_nanos") else "–",
            short(one.estimated_latency.ToNanoseconds() / 1e9) if one.HasField("estimated_latency") else "–",
            one.score_source if one.eligible else one.message or one.reason,
        )
        for one in found.candidates
    ]
    head = ("rank", "model", "where", "eligible", "score", "about", "takes about", "why")
    print_table(head, rows, numeric=(0, 4, 5, 6), empty="the router knows no target")
    click.echo(visible(f"\nphase {found.phase or '–'} · decided by {found.policy or '–'}"), file=sys.stderr)


async def _explain(router: str | None, ask: Ask) -> Any:
    async with Orchestra(router) as mesh:
        return await mesh.explain(ask)
