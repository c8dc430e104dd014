"""Fails when libs/api/src/orchestra differs from what protos/ generate now."""

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "libs" / "api" / "src" / "orchestra"


def files(package: Path) -> set[Path]:
    """Relative paths of everything generated; caches do not count."""
    return {
        path.relative_to(package) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }


def drift(kept: Path, fresh: Path) -> list[str]:
    """One line per file that is missing, left over or different."""
    ours, theirs = files(kept), files(fresh)
    lines = [f"{path}: not generated yet" for path in sorted(theirs - ours)]
    lines += [f"{path}: no proto generates it" for path in sorted(ours - theirs)]
    same = sorted(ours & theirs)
    lines += [
        f"{path}: differs" for path in same if not filecmp.cmp(kept / path, fresh / path, shallow=False)
    ]
    return lines


def main() -> int:
    """Exit code 1 and one line per difference; 0 in silence."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, str(ROOT / "libs" / "api" / "generate.py"), "--out", scratch]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            print(done.stderr.strip())
            return 1
        lines = drift(KEPT, Path(scratch) / "orchestra")
    if lines:
        print(*lines, "run `make proto` and commit libs/api", sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
