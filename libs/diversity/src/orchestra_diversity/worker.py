"""The child process: `python -m orchestra_diversity.worker`, frames in on stdin, frames out on stdout.

It holds no key and no socket, may write no file, and has its memory and processor time bounded. It ends when
its stdin does. Before each sample it says which one it is about to read, so that its parent knows which one
ended it.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from pathlib import Path
from typing import BinaryIO

from .reading import Read, read
from .report import measure_read
from .samples import Sample
from .wire import HEADER, Fields, decode_doubles, encode_report, frame


def main() -> int:
    """Serves jobs until stdin ends; returns the exit code."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody's print may pass for a frame
    bounds = _receive(requests)
    if bounds is None:
        return 0
    gc.freeze()
    gc.set_threshold(100_000)  # trees hold no cycles; looking for them took a third of the reading
    _bound(int(bounds[0]["memory_bytes"]))
    _send(answers, frame({"ready": True}))
    while (job := _receive(requests)) is not None:
        _allow(float(bounds[0]["seconds"]))
        _send(answers, _answer(*job, answers))
    return 0


def _answer(job: Fields, doubles: bytes, answers: BinaryIO) -> bytes:
    samples = [Sample(text, model, language) for text, model, language in job["samples"]]
    try:
        reads: list[Read] = []
        for index, sample in enumerate(samples):
            _send(answers, frame({"reading": index}))
            reads.append(_read(sample, job["forbidden"].get(str(index))))
        _send(answers, frame({"reading": None}))
        embeddings = decode_doubles(doubles, job["width"]) if job["width"] else None
        return encode_report(measure_read(samples, reads, embeddings))
    except ValueError as error:
        return frame({"invalid": str(error)})
    except MemoryError:
        return frame({"failed": "took more memory than allowed"})


def _read(sample: Sample, forbidden: str | None) -> Read:
    try:
        return read(sample, forbidden)
    except MemoryError:
        if forbidden is not None:
            raise
    return read(sample, "reading it took more memory than allowed")


def _bound(memory_bytes: int) -> None:
    """Address space on top of what the interpreter and numpy took; no core dumps, no files."""
    pages = Path("/proc/self/statm")
    taken = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 1 << 30
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, taken + memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _allow(seconds: float) -> None:
    """Processor time for the next job. The parent's clock usually ends a job first; this holds when it is
    gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(
        resource.RLIMIT_CPU, (soft if most == resource.RLIM_INFINITY else min(soft, most), most)
    )


def _receive(stream: BinaryIO) -> tuple[Fields, bytes] | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    length, more = HEADER.unpack(header)
    body, doubles = stream.read(length), stream.read(more)
    if len(body) < length or len(doubles) < more:
        return None
    fields: Fields = json.loads(body)
    return fields, doubles


def _send(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
