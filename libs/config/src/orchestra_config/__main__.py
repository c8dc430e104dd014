"""`python -m orchestra_config check FILE | schema | notes`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from .loading import load
from .problems import ConfigError
from .tree import Config

USAGE = """usage: python -m orchestra_config check FILE   every mistake (exit 1), or a summary
       python -m orchestra_config schema       JSON schema of orchestra.yaml
       python -m orchestra_config notes        the paper's contradictions with all their figures"""


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is 0 for fine, 1 for a wrong file, 2 for a wrong command."""
    match list(arguments):
        case ["check", file]:
            return _check(file)
        case ["schema"]:
            print(json.dumps(Config.model_json_schema(), indent=2))
        case ["notes"]:
            _notes()
        case ["-h" | "--help"]:
            print(USAGE)
        case _:
            print(USAGE, file=sys.stderr)
            return 2
    return 0


def _check(file: str) -> int:
    try:
        config = load(file)
    except ConfigError as error:
        print(*error.problems, sep="\n")
        count = len(error.problems)
        print(f"{count} {'mistake' if count == 1 else 'mistakes'}", file=sys.stderr)
        return 1
    print(f"{file}: fine. Deployment {config.name}")
    for node in config.nodes:
        models = ", ".join(placement.model for placement in config.placements_on(node.id)) or "nothing"
        devices = ", ".join(device.id for device in node.usable) or "none"
        print(f"  node {node.id} at {node.address}, {node.engine}, devices {devices}: {models}")
    for title, names in (
        ("models", [model.name for model in config.models]),
        ("providers", [provider.name for provider in config.providers]),
        ("budgets", [budget.name for budget in config.budgets]),
    ):
        print(f"  {title}: {', '.join(names) or 'none'}")
    return 0


def _notes() -> None:
    from .paper_data import catalogue

    for note in catalogue().contradictions:
        print(note.what)
        for figure in note.figures:
            print(f"    {figure.value}  ({figure.section})")
        print(f"    used: {note.used}; {note.why}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
