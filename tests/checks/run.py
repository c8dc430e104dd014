"""Runs every check, one line each, and says at the end how many failed: `make check`.

`python tests/checks/run.py mypy layout` runs only the checks whose names hold one of the words.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PYTHON = sys.executable
SOURCES = sorted({str(path.parents[1]) for path in ROOT.glob("*/*/src/*/__init__.py")})

CHECKS: list[tuple[str, list[str]]] = [
    ("ruff check", [f"{BIN}/ruff", "check", "--quiet", "--output-format=concise", "."]),
    ("ruff format", [f"{BIN}/ruff", "format", "--quiet", "--check", "--output-format=concise", "."]),
    ("mypy strict", [f"{BIN}/mypy", "--no-error-summary", *SOURCES, "libs/api/generate.py", "tests/checks"]),
    ("layers and walls", [PYTHON, "tests/checks/imports.py"]),
    ("buf lint", [f"{BIN}/buf", "lint"]),
    ("buf format", [f"{BIN}/buf", "format", "--diff", "--exit-code"]),
    ("buf breaking", [PYTHON, "tests/checks/breaking.py"]),
    ("generated code", [PYTHON, "tests/checks/generated.py"]),
    ("locks", [PYTHON, "tests/checks/locks.py"]),
    ("layout", [PYTHON, "tests/checks/layout.py"]),
]


def passes(name: str, command: list[str]) -> bool:
    """Runs one check; prints its verdict, and what it said when it failed."""
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.monotonic() - start
    said = done.stdout.rstrip()
    if done.returncode == 0:
        note = f" ({said})" if name == "buf breaking" else ""
        print(f"  ok    {name:18}{seconds:5.1f} s{note}", flush=True)
        return True
    print(f"  FAIL  {name:18}{seconds:5.1f} s\n{said}", flush=True)
    return False


def main() -> int:
    """Exit code 1 when a check failed or no name matches the words."""
    words = sys.argv[1:]
    chosen = [check for check in CHECKS if not words or any(word in check[0] for word in words)]
    failed = [name for name, command in chosen if not passes(name, command)]
    if failed or not chosen:
        print(f"check: {len(failed)} of {len(chosen)} failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
