"""The coding tasks of the demonstration: beginnings of Python functions, for any model to go on with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

STOP = ("\ndef ", "\nclass ", "\nif __name__", "\nprint(", "\n>>>", "\n#", "\n```")
"""Texts at which the function that was begun has ended."""


@dataclass(frozen=True, slots=True)
class Task:
    """A Python function begun, to be continued as plain text.

    A base model can do that, too. The prompt ends inside the indentation of the body: without that, a model
    tuned for chat takes the docstring for the answer and goes on to talk about it.
    """

    task_id: str
    prompt: str


def tasks() -> list[Task]:
    """All that ship, in order."""
    text = (files("orchestra_stack") / "tasks.jsonl").read_text(encoding="utf-8")
    return [Task(**json.loads(line)) for line in text.splitlines() if line]
