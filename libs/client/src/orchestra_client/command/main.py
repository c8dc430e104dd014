"""The command line: its verbs, its failures in one line, its exit codes."""

from __future__ import annotations

import re
import sys

import click

from orchestra_errors import OrchestraError

from .asking import diverse, explain, generate
from .looking import cache, costs, models, phase, placements, status
from .node import node
from .nodes import HINT
from .terminal import visible

FAILED, WRONG, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130
_WRONG = {"INVALID_ARGUMENT", "NOT_FOUND"}
# gRPC's own words on a connection that cannot be made
_NOBODY = re.compile(r"ipv[46]:(\S+?):? Failed to connect")


class InOrder(click.Group):
    """Verbs in the order of their use, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--router",
    envvar="ORCHESTRA_ROUTER",
    metavar="HOST:PORT",
    help="Where the mesh is; also ORCHESTRA_ROUTER.  [default: 127.0.0.1:50050]",
)
@click.version_option(package_name="orchestra-client", prog_name="orchestra")
@click.pass_context
def orchestra(context: click.Context, router: str | None) -> None:
    """Ask the mesh, and see how it is.

    \b
    exit codes   0 done · 1 failed · 2 asked wrongly · 3 nobody there · 130 interrupted
    """
    context.obj = router


for verb in (generate, diverse, explain, models, placements, phase, costs, cache, status, node):
    orchestra.add_command(verb)


def run() -> None:
    """Runs the verb of this process's arguments; never returns."""
    try:
        orchestra.main(prog_name="orchestra", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except OrchestraError as error:
        sys.exit(_explain(error))
    sys.exit(0)


def _explain(error: OrchestraError) -> int:
    """What went wrong, and the code that says whose turn it is."""
    where = _NOBODY.search(error.message)
    words = f"nobody answers at {where[1]}" if where else error.message
    click.echo(f"error: {visible(words)}", err=True)
    if len(error.violations) > 1:
        for violation in error.violations:
            click.echo(f"  {visible(violation.field)}: {visible(violation.description)}", err=True)
    notes = getattr(error, "__notes__", ())
    hints = [note.removeprefix(HINT) for note in notes if note.startswith(HINT)]
    for hint in hints:
        click.echo(f"  {visible(hint)}", err=True)
    if not hints and error.status_code == "UNAVAILABLE" and error.reason in ("UNAVAILABLE", "PEER_FAILED"):
        click.echo("  is the mesh up? `make up` starts one; --router says where it is", err=True)
    if error.retry_after is not None:
        click.echo(f"  try again in {error.retry_after:g} s", err=True)
    if traces := [note for note in notes if note.startswith("trace ")]:
        click.echo(f"  {traces[0]}", err=True)
    if error.status_code in _WRONG:
        return WRONG
    return UNREACHABLE if error.status_code == "UNAVAILABLE" else FAILED
