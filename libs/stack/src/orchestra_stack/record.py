"""What runs, on disk: so that another command finds, judges and stops a mesh that this one started."""

from __future__ import annotations

import fcntl
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from .problem import StackError
from .processes import ProcessId


@dataclass(frozen=True, slots=True)
class Running:
    """One started process of a mesh, by the name of its instance."""

    name: str
    service: str
    address: str
    metrics_port: int
    log: str
    process: ProcessId


class Record:
    """`mesh.json` in a mesh's folder. Written whole each time, so that a reader never sees a half."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "mesh.json"

    def read(self) -> list[Running]:
        """What was started and not forgotten; empty without a mesh. Raises StackError when unreadable."""
        try:
            rows = json.loads(self._file.read_text(encoding="utf-8"))
            return [Running(**(row | {"process": ProcessId(**row["process"])})) for row in rows]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StackError(f"{self._file} cannot be read ({error}): remove it once nothing runs") from error

    def write(self, running: list[Running]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps([asdict(one) for one in running], indent=1), encoding="utf-8")
        new.replace(self._file)

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)


class FolderLock:
    """Held while a command works on the mesh of a folder, or owns it; freed when its holder dies."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "lock"
        self._name = name

    def __enter__(self) -> None:
        self._file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise StackError(
                f"another command is at work on the mesh {self._name!r}: wait until it ends, or stop it"
            ) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
