"""Fails when a lock names an address or a package of this tree, or no longer covers what packages ask for.

Strangers publish packages with names like ours, so ours must never stand where an index could resolve them.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
NEVER = ("orchestra", "-e", "./", "--index", "--extra-index", "--find-links")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;([^\\]+))?")


@cache
def tree() -> dict[str, dict[str, Any]]:
    """The [project] table of every package of this tree by its name."""
    found: dict[str, dict[str, Any]] = {}
    for path in [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]:
        project = tomllib.loads(path.read_text())["project"]
        found[canonicalize_name(project["name"])] = project
    return found


def foreign(name: str, seen: set[str], extras: tuple[str, ...] = ()) -> Iterator[Requirement]:
    """Third-party requirements of one package of this tree and of all that it stands on."""
    seen.add(name)
    project = tree()[name]
    texts = list(project.get("dependencies", []))
    for extra in extras:
        texts += project.get("optional-dependencies", {}).get(extra, [])
    for requirement in map(Requirement, texts):
        ours = canonicalize_name(requirement.name)
        if ours not in tree():
            yield requirement
        elif ours not in seen:
            yield from foreign(ours, seen, tuple(requirement.extras))


def gpu_engine(installed: Mapping[str, str]) -> Iterator[Requirement]:
    """What the engine for CUDA needs beside what is installed; its tests must have just that."""
    for project in tree().values():
        extra = map(Requirement, project.get("optional-dependencies", {}).get("exllamav2", []))
        yield from (one for one in extra if canonicalize_name(one.name) not in installed)


def pins(lock: Path) -> dict[str, str]:
    """Version by name, as this Python on this machine would install them."""
    found: dict[str, str] = {}
    for line in lock.read_text().splitlines():
        if match := PIN.match(line):
            name, version, marker = match.groups()
            if marker is None or Requirement(f"{name} ; {marker.strip()}").marker.evaluate():  # type: ignore[union-attr]
                found[canonicalize_name(name)] = version
    return found


def uncovered(lock: Path, wanted: Iterator[Requirement]) -> Iterator[str]:
    """One line per requirement that the lock misses or pins to another version."""
    pinned = pins(lock)
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            has = version or f"no {requirement.name}"
            yield f"{lock.relative_to(ROOT)}: has {has}, needed is {requirement}"


def hygiene(lock: Path) -> Iterator[str]:
    """One line per address, package of this tree, and pin without a hash."""
    for number, line in enumerate(lock.read_text().splitlines(), start=1):
        if "://" in line or line.startswith(NEVER):
            yield f"{lock.relative_to(ROOT)}:{number}: {line.strip()}"
        if PIN.match(line) and not line.endswith("\\"):
            yield f"{lock.relative_to(ROOT)}:{number}: a pin without a hash"


def problems() -> Iterator[str]:
    """Every finding over all locks, one line each."""
    root = ROOT / "requirements.lock.txt"
    models, engines = ROOT / "models.lock.txt", ROOT / "engines.lock.txt"
    for lock in [root, models, engines, *sorted(ROOT.glob("services/*/requirements.lock.txt"))]:
        yield from hygiene(lock)
    yield from uncovered(engines, gpu_engine(pins(root)))
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    yield from uncovered(root, map(Requirement, dev))
    for name in tree():
        yield from uncovered(root, foreign(name, set()))
    for service in sorted(ROOT.glob("services/*/pyproject.toml")):
        lock = service.with_name("requirements.lock.txt")
        if not lock.is_file():
            yield f"{lock.relative_to(ROOT)}: missing"
            continue
        yield from uncovered(lock, foreign(f"orchestra-{service.parent.name}", set()))


def main() -> int:
    """Exit code 1 and one line per finding; 0 in silence."""
    found = list(dict.fromkeys(problems()))
    if found:
        print(*found, "run `make lock` and commit the locks", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
