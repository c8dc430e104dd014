"""The demonstration from beginning to end: a mesh, questions, rows, a page, a summary."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestra_stack.deployment import Deployment, PortPlan, write_local
from orchestra_stack.home import models_folder
from orchestra_stack.mesh import Mesh, stop_recorded
from orchestra_stack.model_files import place
from orchestra_stack.problem import StackError
from orchestra_stack.progress import progress_for
from orchestra_stack.record import FolderLock
from orchestra_stack.tasks import tasks
from orchestra_stack.verbs import mesh_folder, run

from .asking import Asking, Questions
from .screen import screen_for
from .summary import lines
from .tally import Tally

DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Wish:
    """`samples` per model and task; `tasks` 0 means all; results go to `out`."""

    samples: int
    max_tokens: int
    tasks: int
    out: Path


def run_demo(wish: Wish) -> int:
    """Exit code: 0 when every sample reached its end. Every process is stopped, whatever happens.

    Raises StackError and KeyboardInterrupt.
    """
    folder = mesh_folder(DEMO)
    with FolderLock(folder, DEMO):
        # the processes of a run that was killed end by themselves, but may be about it still
        stop_recorded(folder)
        models = models_folder()
        place(models)
        deployment = write_local(DEMO, folder, models, PortPlan.free())
        return run(_demo(wish, deployment))


async def _demo(wish: Wish, deployment: Deployment) -> int:
    progress = progress_for(len(deployment.instances))
    mesh = Mesh(deployment, tied=True, progress=progress)
    try:
        await mesh.start()
    finally:
        progress.close()
    try:
        return await _ask(wish, deployment)
    finally:
        mesh.stop_now()


async def _ask(wish: Wish, deployment: Deployment) -> int:
    chosen = tasks()[: wish.tasks or None]
    models = list(deployment.generating)
    now = datetime.now(UTC)
    run_id = f"demo-{now:%Y%m%d-%H%M%S}"
    questions = Questions(chosen, models, wish.samples, wish.max_tokens, run_id, uuid.uuid4().hex)
    tally = Tally(len(chosen), len(chosen) * len(models) * wish.samples)
    rows: list[dict[str, Any]] = []
    wish.out.mkdir(parents=True, exist_ok=True)
    screen = screen_for(tally)
    began = time.monotonic()
    with (wish.out / "samples.jsonl").open("w", encoding="utf-8") as file:

        def keep(row: dict[str, Any]) -> None:
            rows.append(row)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()

        asking = Asking(questions, tally, keep, screen.changed)
        try:
            await asking.run(deployment.router)
        finally:
            screen.changed(now=True)
            screen.close()
    seconds = time.monotonic() - began
    summary = {
        "run_id": run_id,
        "started_at": now.isoformat(timespec="seconds"),
        "seconds": seconds,
        "models": models,
        "samples_per_model": wish.samples,
        "max_tokens": wish.max_tokens,
        "equal_texts": tally.equal_texts,
        "tasks": asking.summaries,
    }
    await asyncio.to_thread(_write_page, rows, wish.out / "report.html", summary)
    trace = next(((row["trace_id"], row["task_id"]) for row in rows if row["trace_id"]), None)
    print("\n".join(lines(tally, seconds, wish.out, trace)), flush=True)
    problems = tally.problems()
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise StackError(
            f"not every sample is whole: {problems[0]}{more}; logs in {deployment.folder / 'log'}"
        )
    return 0


def _write_page(rows: list[dict[str, Any]], path: Path, summary: dict[str, Any]) -> None:
    from orchestra_client.report import write_report

    write_report(rows, path, title="LLM Orchestra: what two small models said", summary=summary)
