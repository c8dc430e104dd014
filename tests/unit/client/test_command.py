"""The command as people run it: a process, its two outputs, its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

from orchestra.generation.v1 import event_pb2
from orchestra_errors import InvalidRequest, NoCapacity, Violations, WorkerLost

from .conftest import Running, failed, finished, started, text


def orchestra(mesh: Running | None, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    address = mesh.address if mesh else "127.0.0.1:1"
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "orchestra_client", *arguments],
        env=os.environ | {"ORCHESTRA_ROUTER": address},
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


def test_the_answer_goes_to_stdout_and_the_rest_beside_it(mesh: Running) -> None:
    done = orchestra(mesh, "generate", "--text", "-", "-m", "smollm2-135m", "--max-tokens", "2", stdin="def ")
    assert (done.returncode, done.stdout) == (0, "def é():\n")
    assert "smollm2-135m" in done.stderr and "2 µ$" in done.stderr and "trace " in done.stderr
    sent = mesh.router.requests[0].generation
    assert (sent.text, sent.routing.model, sent.sampling.max_tokens) == ("def ", "smollm2-135m", 2)


def test_a_question_is_a_conversation(mesh: Running) -> None:
    assert orchestra(mesh, "generate", "why?", "--system", "be brief").returncode == 0
    messages = mesh.router.requests[0].generation.chat.messages
    assert [message.parts[0].text for message in messages] == ["be brief", "why?"]


def test_json_is_a_line_per_event(mesh: Running) -> None:
    done = orchestra(mesh, "diverse", "--text", "x", "--plan", "a=1", "--plan", "b=1", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and done.stderr == ""
    assert [line["event"] for line in lines] == ["started", "text_delta", "finished"] * 2 + ["summary"]
    assert lines[2]["cost"]["nanos"] == 2_000


def test_models_and_explain(mesh: Running) -> None:
    assert [one["name"] for one in json.loads(orchestra(mesh, "models", "--json").stdout)] == [
        "smollm2-135m",
        "gemma3-270m",
    ]
    done = orchestra(mesh, "explain", "--text", "x")
    assert "smollm2-135m" in done.stdout and "\x1b" not in done.stdout


def test_exit_codes_and_one_clear_line(mesh: Running) -> None:
    nobody = orchestra(None, "generate", "x")
    assert nobody.returncode == 3
    assert nobody.stderr.startswith("error: nobody answers at 127.0.0.1:1\n") and "make up" in nobody.stderr
    missing = orchestra(mesh, "explain", "x", "-m", "smolm")
    assert missing.returncode == 2 and "nearest: smollm2-135m" in missing.stderr
    assert orchestra(mesh, "generate").returncode == 2
    assert orchestra(mesh, "diverse", "x", "--plan", "a").returncode == 2


def test_every_violation_is_named(mesh: Running) -> None:
    async def wrong(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        found = Violations()
        found.add("sampling.n", "too many")
        found.add("phase", "unknown")
        raise InvalidRequest(found.found)
        yield started()

    mesh.router.script = wrong
    done = orchestra(mesh, "generate", "x")
    assert done.returncode == 2
    assert "  sampling.n: too many\n  phase: unknown\n" in done.stderr


def test_a_failed_sample_fails_the_command(mesh: Running) -> None:
    async def half(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        yield started(0)
        yield text("kept", 0)
        yield finished(0)
        yield failed(WorkerLost("m", "killed \x1b[2Jdead"), 1)

    mesh.router.script = half
    done = orchestra(mesh, "generate", "x", "-n", "2")
    assert done.returncode == 3 and "kept" in done.stdout
    assert "killed dead" in done.stderr and "\x1b" not in done.stderr


def test_waiting_is_advised(mesh: Running) -> None:
    async def full(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        raise NoCapacity("m", 2.0)
        yield started()

    mesh.router.script = full
    done = orchestra(mesh, "generate", "x")
    assert done.returncode == 1 and "try again in 2 s" in done.stderr


def test_an_interrupt_ends_the_work(mesh: Running) -> None:
    async def endless(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
        yield started()
        while True:
            yield text("more ")
            await asyncio.sleep(0.01)

    mesh.router.script = endless
    # a test run in the background of a script ignores it, and what it starts would, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [sys.executable, "-m", "orchestra_client", "generate", "x"],
        env=os.environ | {"ORCHESTRA_ROUTER": mesh.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"more"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 130 and errors.strip().endswith(b"interrupted")
    assert mesh.router.released.wait(5)


def test_the_import_is_light() -> None:
    heavy = "{'grpc', 'google.protobuf', 'click', 'rich', 'pydantic', 'opentelemetry'}"
    code = f"import sys, orchestra_client; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"
