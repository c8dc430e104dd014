"""Options that every verb of asking shares."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..ask import Ask, Prompt

C = TypeVar("C", bound=Callable[..., Any])

DEFAULT_MAX_TOKENS = 256

_OPTIONS = (
    click.argument("prompt", required=False),
    click.option(
        "--text", help="A text to go on with as it stands, in place of PROMPT; - reads it from stdin."
    ),
    click.option("--system", help="What the model is told before PROMPT."),
    click.option("-m", "--model", help="Name or alias."),
    click.option("-c", "--candidate", "candidates", multiple=True, help="One of the models to choose from."),
    click.option("--objective", help="speed, quality, specialization, cost or round_robin."),
    click.option("--type", "request_type", help="What it is for, as the deployment names it."),
    click.option("--local-only", is_flag=True, default=None, help="The prompt must not leave the house."),
    click.option("-n", "n", type=int, help="How many samples."),
    click.option(
        "--max-tokens", type=int, default=DEFAULT_MAX_TOKENS, show_default=True, help="Of one sample."
    ),
    click.option("-t", "--temperature", type=float, help="0 is greedy."),
    click.option("--top-p", type=float),
    click.option("--top-k", type=int),
    click.option("--min-p", type=float),
    click.option("--seed", type=int, help="Makes draws repeatable."),
    click.option("--stop", multiple=True, help="End before this text; may be given several times."),
    click.option("--phase", help="The training phase that it belongs to."),
    click.option("--run", "run_id", help="The training run that it is charged to."),
    click.option("--rollout", "rollout_id", help="One rollout gets no stored draw twice."),
    click.option("--request-id", help="A repeat with the same id gets the same samples."),
    click.option("--cache", help="use, read_only, write_only, refresh or bypass."),
    click.option("--timeout", type=float, help="Seconds for the whole call."),
)


def wishes(command: C) -> C:
    """Adds them to a command, which gets the Ask's fields by name."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def asked(prompt: str | None, text: str | None, system: str | None, **given: Any) -> Ask:
    """The Ask; raises UsageError when it is not clear what is asked."""
    if (prompt is None) == (text is None):
        raise click.UsageError("say what to ask: either PROMPT (a question) or --text (to be gone on with)")
    if text is not None and system is not None:
        raise click.UsageError("--system goes with PROMPT, not with --text")
    words: Prompt
    if text is not None:
        words = sys.stdin.read() if text == "-" else text
    else:
        content = sys.stdin.read() if prompt == "-" else str(prompt)
        words = [{"role": "user", "content": content}]
        if system is not None:
            words = [{"role": "system", "content": system}, *words]
    known = {name: value for name, value in given.items() if value is not None and value != ()}
    return Ask(prompt=words, **known)
