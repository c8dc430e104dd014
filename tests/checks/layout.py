"""Fails when the top level holds anything but what it should, or a package breaks the common shape.

Only what git would keep counts: ignored files are nobody's business.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOP = {"protos", "services", "libs", "tests", "compose", "buf.yaml", "Makefile", "README.md"}
BESIDE = {"pyproject.toml", "CHANGELOG.md", "LICENSE"}
VAGUE = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}
LONGEST = 300


def tracked() -> list[Path]:
    """Relative paths of everything that git keeps or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).exists()]


def top_level(paths: list[Path]) -> Iterator[str]:
    """One line per stranger on the top level, and per name that is missing there."""
    names = {path.parts[0] for path in paths}
    for name in sorted(names - TOP - BESIDE):
        if not name.startswith(".") and not name.endswith(".lock.txt"):
            yield f"{name}: does not belong on the top level; put it beside what it describes"
    for name in sorted((TOP | BESIDE) - names):
        yield f"{name}: missing on the top level"


def modules(paths: list[Path]) -> Iterator[str]:
    """One line per vague name and per file that is too long to explain itself."""
    for path in paths:
        ours = path.suffix == ".py" and path.parts[0] in ("libs", "services") and "src" in path.parts
        if not ours or path.parts[:4] == ("libs", "api", "src", "orchestra"):
            continue
        if VAGUE & {path.stem, *path.parts[3:-1]}:
            yield f"{path}: a name that says nothing; name it for what it does"
        if (lines := len((ROOT / path).read_text().splitlines())) > LONGEST:
            yield f"{path}: {lines} lines; split what is over {LONGEST}"


def packages() -> Iterator[str]:
    """One line per departure from the shape that every library and service shares."""
    rules: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for path in [
        *sorted(ROOT.glob("libs/*/pyproject.toml")),
        *sorted(ROOT.glob("services/*/pyproject.toml")),
    ]:
        where, folder = path.relative_to(ROOT), path.parent.name
        project = tomllib.loads(path.read_text())["project"]
        module = "orchestra" if folder == "api" else f"orchestra_{folder.replace('-', '_')}"
        if project["name"] != f"orchestra-{folder}":
            yield f"{where}: named {project['name']}, expected orchestra-{folder}"
        if "Private :: Do Not Upload" not in project.get("classifiers", []):
            yield f"{where}: lacks the classifier Private :: Do Not Upload"
        if not (path.parent / "src" / module / "py.typed").is_file():
            yield f"{where}: lacks src/{module}/py.typed"
        if folder != "api" and module not in rules["root_packages"]:
            yield f"{where}: {module} is missing in root_packages of tool.importlinter"
        if path.parts[-3] == "services" and module not in rules["contracts"][0]["containers"]:
            yield f"{where}: {module} is missing in the layers contract"


def main() -> int:
    """Exit code 1 and one line per finding; 0 in silence."""
    paths = tracked()
    found = [*top_level(paths), *modules(paths), *packages()]
    if found:
        print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
