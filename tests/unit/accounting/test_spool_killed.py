"""kill -9 while the spool is written: every attempt that was said to be durable is there, none twice."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from orchestra.ledger.v1.entry_pb2 import ENTRY_STATE_UNKNOWN
from orchestra_accounting import Spool

WRITER = """
import asyncio, sys
from orchestra.ledger.v1.entry_pb2 import ENTRY_STATE_SETTLED, UsageEntry
from orchestra_accounting import Spool

async def attempts(spool, lane):
    for number in range(10**9):
        name = f"{lane}/{number}"
        await spool.opened(UsageEntry(attempt_id=name))
        sys.stdout.write(f"opened {name}\\n"); sys.stdout.flush()
        if number % 3:
            await spool.settled(UsageEntry(attempt_id=name, state=ENTRY_STATE_SETTLED))
            sys.stdout.write(f"settled {name}\\n"); sys.stdout.flush()

async def main():
    spool = await Spool.open(sys.argv[1])
    await asyncio.gather(*(attempts(spool, lane) for lane in range(8)))

asyncio.run(main())
"""


def run_and_kill(folder: Path, lines: int) -> list[str]:
    """Kill the writer after it has said so many lines; returns the whole ones."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout:
        said = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        said += [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    writer.wait()
    return said


async def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    for round_number, lines in enumerate((50, 400, 1_111)):
        folder = tmp_path / str(round_number)
        said = await asyncio.to_thread(run_and_kill, folder, lines)
        opened = {line.split()[1] for line in said if line.startswith("opened")}
        settled = {line.split()[1] for line in said if line.startswith("settled")}

        spool = await Spool.open(folder)
        found = []
        while not spool.all_delivered:
            batch = await spool.next_batch(100)
            found += batch.entries
            await spool.delivered(batch)
        names = [entry.attempt_id for entry in found]
        unknown = {entry.attempt_id for entry in found if entry.state == ENTRY_STATE_UNKNOWN}
        assert len(names) == len(set(names))
        assert opened <= set(names)
        assert not settled & unknown
        await spool.close()
