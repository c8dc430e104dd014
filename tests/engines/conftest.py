"""exllamav2 as pip installed it, on CPU torch; its extension and its arithmetic are scripted. See
README.md."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SCRIPTED = Path(__file__).parent / "scripted"
if find_spec("torch") is None:
    # a plain `pytest` of .venv goes by; `make test-engines` has an environment for these
    collect_ignore_glob = ["test_*.py"]
else:
    sys.path[:0] = [str(SCRIPTED), str(SCRIPTED.parent)]
    import scripted_exllamav2

    scripted_exllamav2.install()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from scripted_exllamav2 import checkpoint

    return checkpoint.write(tmp_path_factory.mktemp("models") / "scripted")


@pytest.fixture
def before_forward() -> Any:
    """Functions of (batch, tokens), called in the engine's thread before every forward of the test's
    models."""
    # the package first: its import puts the script in
    import exllamav2  # noqa: F401
    from scripted_exllamav2.modules import before_forward

    yield before_forward
    before_forward.clear()
