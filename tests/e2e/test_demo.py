"""The demonstration as a person runs it: twice, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestra_stack.home import HOME_VARIABLE, MODELS_VARIABLE, models_folder

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path: a unix socket below it must fit into a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="orch-demo-") as folder:
        yield Path(folder)


def demo(home: Path, *options: str) -> subprocess.Popen[str]:
    variables = {HOME_VARIABLE: str(home), MODELS_VARIABLE: str(models_folder())}
    return subprocess.Popen(
        [sys.executable, "-m", "orchestra_stack", "demo", "--out", str(home / "out"), *options],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rows(home: Path) -> list[dict[str, Any]]:
    text = (home / "out" / "samples.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def strays(home: Path) -> list[str]:
    """Processes that were started from there and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = str(home) in process.environ().get("ORCHESTRA_STATE_DIR", "")
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_two_runs_leave_whole_samples_and_the_second_is_served_from_the_cache(home: Path) -> None:
    seen: list[list[dict[str, Any]]] = []
    for _ in range(2):
        process = demo(home, "--tasks", "2", "--samples", "2", "--max-tokens", "8")
        told, _ = process.communicate(timeout=120)
        assert process.returncode == 0, told
        assert "orchestra.router.v1.RouterService/Generate" in told
        page = (home / "out" / "report.html").read_text(encoding="utf-8")
        assert "<svg" in page
        assert "default-src 'none'" in page, "the page asks for nothing from elsewhere"
        seen.append(rows(home))
        assert strays(home) == []
    first, second = seen
    for run in seen:
        assert len(run) == 8
        assert {row["model"] for row in run} == {"smollm2-135m", "gemma3-270m"}
        assert len({row["sample_id"] for row in run}) == 8
        assert len({row["provenance"]["run_id"] for row in run}) == 1
        for row in run:
            assert row["usage"]["completion_tokens"] > 0
            assert "nanos" in row["cost"]
            assert "total" in row["timings"]
            assert len(row["trace_id"]) == 32
    assert {row["provenance"]["cache"]["outcome"] for row in first} == {"CACHE_OUTCOME_MISS"}
    assert {row["provenance"]["cache"]["outcome"] for row in second} == {"CACHE_OUTCOME_STORED"}
    assert {row["sample_id"] for row in second} == {row["sample_id"] for row in first}


def test_an_interrupted_run_stops_everything(home: Path) -> None:
    process = demo(home, "--tasks", "4")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("tasks "):
            break
    assert strays(home)
    process.send_signal(signal.SIGINT)
    told = process.stdout.read()
    assert process.wait(30) == 130
    process.stdout.close()
    assert "everything that was started has been stopped" in told
    assert strays(home) == []
