"""`orchestra node`: what a host can do, measured."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import PurePath
from typing import Any

import click

from orchestra_errors import OrchestraError

from . import nodes
from .node_figures import as_json, show_devices, show_measured
from .terminal import visible


@click.group()
def node() -> None:
    """Look at a host of models and measure it."""


@node.command()
@click.argument("where", required=False, default="", metavar="[ADDRESS|NODE]")
@click.option("-m", "--model", "models", multiple=True, help="Only this loaded model; may be repeated.")
@click.option(
    "--load",
    metavar="[NAME=]PATH",
    help="Load this file or folder of the host, measure it alone, and unload it again.",
)
@click.option("--tokens", type=click.IntRange(8, 1024), help="Drawn by each request.  [default: 64]")
@click.option("--rounds", type=click.IntRange(1, 20), help="Their median is kept.  [default: 3]")
@click.option("--json", "in_json", is_flag=True, help="JSON in place of tables.")
@click.pass_obj
def check(
    router: str | None,
    where: str,
    models: tuple[str, ...],
    load: str | None,
    tokens: int | None,
    rounds: int | None,
    in_json: bool,
) -> None:
    """Measure what loaded models do on their node, beside what is declared.

    ADDRESS is a node's host:port, NODE its name; without either every node that model-manager places models
    on is measured. Callers share the engines meanwhile, so measure when the node is idle. The node keeps the
    figures, and planner, router and prices use them in place of the declared ones.
    """
    if load and models:
        raise click.UsageError("--load measures the model that it loads; leave out --model")
    settings = {name: value for name, value in (("tokens", tokens), ("rounds", rounds)) if value is not None}
    failures, told = asyncio.run(_check(router, where, models, _loading(load), settings, in_json))
    if in_json:
        click.echo(json.dumps(told, indent=1))
    if failures:
        raise failures[0]


def _loading(load: str | None) -> nodes.Loading | None:
    if load is None:
        return None
    name, equals, path = load.partition("=")
    if equals and name and path:
        return nodes.Loading(name, path)
    if equals or not load:
        raise click.UsageError(f"--load takes a PATH or NAME=PATH, not {load!r}")
    return nodes.Loading(PurePath(load).stem, load)


async def _check(
    router: str | None,
    where: str,
    models: tuple[str, ...],
    loading: nodes.Loading | None,
    settings: dict[str, int],
    quiet: bool,
) -> tuple[list[OrchestraError], list[dict[str, Any]]]:
    """What went wrong, and what `--json` tells."""
    found = await nodes.addresses(router, where)
    if not found:
        raise click.ClickException(
            "model-manager places no model on any node: give a node's address, for example 127.0.0.1:50060"
        )
    failures: list[OrchestraError] = []
    told: list[dict[str, Any]] = []
    idle: list[str] = []
    for address in found:
        progress = Progress()
        seen = await nodes.check(address, models, loading, settings, progress)
        progress.end()
        failures += [error for _, error in seen.failed]
        catalogue = {one.model: await nodes.declared(router, one.model) for one, _ in seen.measured}
        told.append(as_json(seen, catalogue))
        if not quiet:
            show_devices(seen.node)
            for worker, speed in seen.measured:
                show_measured(seen.node, worker, speed, catalogue[worker.model])
            for name, error in seen.failed:
                click.echo(visible(f"\n{name}: not measured: {error.message}"))
            if seen.measured:
                click.echo(f"\nkept by {visible(seen.node.node_id)}; {_KEPT}")
        if not seen.measured and not seen.failed:
            idle.append(seen.node.node_id)
    if len(idle) == len(found):
        raise click.ClickException(
            f"no model is loaded on {', '.join(idle)}: load one, or measure a file with --load NAME=PATH"
        )
    return failures, told


_KEPT = "planner, router and prices use the measured figures in place of the declared ones"


class Progress:
    """One line that is written over, where somebody looks."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, model: str, done: int, total: int, activity: str) -> None:
        if self._shown:
            steps = f"{done} of {total}: " if total else ""
            click.echo(f"\r\x1b[K{visible(model)}  {steps}{visible(activity)} …", nl=False, err=True)

    def end(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
