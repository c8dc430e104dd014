"""Asking the router one task at a time, several at once, and keeping each sample as a row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestra_client import Event, Failed, Finished, Options, Orchestra, TextDelta
from orchestra_client.rows import plain
from orchestra_errors import OrchestraError
from orchestra_stack.tasks import STOP, Task

from .tally import Tally

_CALL_S = 240.0


@dataclass(frozen=True, slots=True)
class Questions:
    """`samples` of each model for each task, `at_once` tasks in flight.

    All are one rollout: no stored draw is served to it twice.
    """

    tasks: Sequence[Task]
    models: Sequence[str]
    samples: int
    max_tokens: int
    run_id: str
    rollout_id: str
    at_once: int = 4

    def wishes(self, task: Task) -> Options:
        """The same for every run but for the ids: so that a later run finds the draws of this one."""
        return Options(
            temperature=0.8,
            # before top_p: sorting a vocabulary of 262,144 for top_p alone costs more than the model itself
            top_k=40,
            top_p=0.95,
            max_tokens=self.max_tokens,
            stop=STOP,
            request_type="code_generation",
            rollout_id=self.rollout_id,
            run_id=self.run_id,
            labels={"task": task.task_id},
            timeout=_CALL_S,
        )


class Asking:
    """Runs the questions. Rows go to `keep` as samples finish; `summaries` holds each task's summary."""

    def __init__(
        self,
        questions: Questions,
        tally: Tally,
        keep: Callable[[dict[str, Any]], None],
        changed: Callable[[], None],
    ) -> None:
        self._questions = questions
        self._tally = tally
        self._keep = keep
        self._changed = changed
        self.summaries: dict[str, dict[str, Any]] = {}

    async def run(self, router: str) -> None:
        """Until every task has ended, well or not."""
        slots = asyncio.Semaphore(self._questions.at_once)
        async with Orchestra(router) as mesh, asyncio.TaskGroup() as group:
            for task in self._questions.tasks:
                group.create_task(self._one(mesh, task, slots))

    async def _one(self, mesh: Orchestra, task: Task, slots: asyncio.Semaphore) -> None:
        plan = dict.fromkeys(self._questions.models, self._questions.samples)
        async with slots, mesh.diverse(task.prompt, plan=plan, **self._questions.wishes(task)) as answer:
            try:
                async for event in answer:
                    self._take(task, event)
            except OrchestraError as error:
                self._tally.failed(f"task {task.task_id}: {error}")
            if answer.summary is not None:
                self.summaries[task.task_id] = plain(answer.summary)
        self._tally.tasks_done += 1
        self._changed()

    def _take(self, task: Task, event: Event) -> None:
        match event:
            case TextDelta():
                self._tally.piece(time.monotonic())
            case Finished(sample=sample):
                row = sample.row(task_id=task.task_id, prompt=task.prompt, diversity=None)
                self._tally.row(row)
                self._keep(row)
            case Failed(index=index, error=error):
                self._tally.failed(f"sample {index} of task {task.task_id}: {error}")
        self._changed()
