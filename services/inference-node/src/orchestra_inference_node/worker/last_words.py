"""What a process writes to its standard error while it loads: native code may leave its reasons there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STDERR = 2
_LINES, _CHARACTERS = 10, 400
_FILE = "load.log"


@contextmanager
def kept_errors(scratch: Path) -> Iterator[None]:
    """Standard error goes to a file in `scratch` and afterwards to where it went before, with all that was
    written. The file stays when the load failed.

    A pipe would not do: who reads it may have to wait for the interpreter, which a load can hold.
    """
    log = scratch / _FILE
    before = os.dup(_STDERR)
    kept = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(kept, _STDERR)
    os.close(kept)
    whole = False
    try:
        yield
        whole = True
    finally:
        sys.stderr.flush()
        os.dup2(before, _STDERR)
        with os.fdopen(before, "wb") as out:
            out.write(log.read_bytes())
        if whole:
            log.unlink()


def last_words(scratch: Path) -> str:
    """The last lines of what was kept; empty when the load went well or nothing was said.

    Of many the first and the last: some begin with the reason and some end with it.
    """
    try:
        text = (scratch / _FILE).read_text(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = " / ".join(lines[-_LINES:])
    return said if len(said) <= 2 * _CHARACTERS else f"{said[:_CHARACTERS]} … {said[-_CHARACTERS:]}"
