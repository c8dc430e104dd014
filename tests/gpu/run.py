"""`make test-gpu`: the suite of every engine on this host's CUDA cards; without one it says so.

    make test-gpu EXL2_MODEL=/models/some-exl2 GGUF_MODEL=/models/some.gguf

runs it for exllamav2 and for llama.cpp; one of the two models is enough.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from orchestra_inference_node.adapters.nvml import Nvml

SUITES = {"EXL2_MODEL": "TestExLlamaV2", "GGUF_MODEL": "TestLlamaCpp"}
TESTS = Path(__file__).with_name("test_contract_on_card.py")


def main(install: str, python: str) -> int:
    """The exit code. `install` makes the environment of `python`; nobody pays for it without a card."""
    seen = Nvml().cards()
    if not seen.cards:
        print(f"no card: {seen.absent or 'the driver shows none'}")
        return 0
    for card in seen.cards:
        capability = ".".join(map(str, card.capability or ("unknown",)))
        print(f"card {card.index}: {card.name or card.failure}, compute capability {capability}")
    chosen = [f"{TESTS}::{suite}" for variable, suite in SUITES.items() if os.environ.get(variable)]
    if not chosen:
        print(f"name a model to try them with: {' or '.join(SUITES)}", file=sys.stderr)
        return 2
    made = subprocess.run(shlex.split(install), check=False).returncode
    return made or subprocess.run([python, "-m", "pytest", "-q", *chosen], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
