"""A mesh's state as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

import click

from .status import MeshStatus

_RIGHT = frozenset({"memory", "pid", "slots free", "tokens/s"})


def print_status(found: MeshStatus) -> None:
    """Services, models, and what is amiss."""
    _print(
        ("service", "state", "address", "metrics", "memory", "pid"),
        [
            (
                one.name,
                one.state,
                one.address,
                f":{one.metrics_port}" if one.metrics_port else "",
                f"{one.memory_bytes / 1e6:.0f} MB" if one.memory_bytes is not None else "",
                str(one.pid),
            )
            for one in found.services
        ],
    )
    if found.models:
        click.echo()
        _print(
            ("model", "state", "node", "worker", "slots free", "tokens/s", "engine"),
            [
                (
                    one.model,
                    one.state,
                    one.node,
                    one.address,
                    f"{one.slots_free} of {one.slots_total}",
                    f"{one.tokens_per_second:.0f}" if one.tokens_per_second is not None else "",
                    one.engine,
                )
                for one in found.models
            ],
        )
    for problem in found.problems:
        click.secho(f"not well: {problem}", fg="red")


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    click.echo(_line(head, head, widths))
    for row in rows:
        line = _line(row, head, widths)
        # colour goes in last: it takes no width
        before, state, after = line.partition(row[1])
        click.echo(before + click.style(state, fg="green" if row[1] == "serving" else "red") + after)


def _line(row: Sequence[str], head: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if name in _RIGHT else cell.ljust(width)
        for cell, name, width in zip(row, head, widths, strict=True)
    ]
    return "  ".join(cells).rstrip()
