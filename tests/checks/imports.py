"""Runs import-linter's contracts over this tree, whatever of it is there and installed.

A package that the rules name and that is absent counts as empty, so that a part of the tree can be checked
alone.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Exit code and output of lint-imports."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    sources = [path for area in ("libs", "services") for path in ROOT.glob(f"{area}/*/src")]
    with tempfile.TemporaryDirectory() as scratch:
        for name in rules["root_packages"]:
            if not any((source / name / "__init__.py").is_file() for source in sources):
                (Path(scratch) / name).mkdir()
                (Path(scratch) / name / "__init__.py").touch()
        paths = os.pathsep.join(map(str, [scratch, *sources]))
        command = [
            str(Path(sys.executable).with_name("lint-imports")),
            "--no-logo",
            "--config",
            "pyproject.toml",
        ]
        return subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
