"""Each service runs from its own lock alone, not by accident of an environment that holds everything."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(path.parent.name for path in ROOT.glob("services/*/requirements.lock.txt"))
PACKAGES = {
    tomllib.loads(path.read_text())["project"]["name"]: path.parent
    for path in [*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
}


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output; a failure shows what the command said last."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def closure(name: str) -> set[str]:
    """The package and every package of this tree that it stands on."""
    found, left = set(), [name]
    while left:
        package = left.pop()
        found.add(package)
        project = tomllib.loads((PACKAGES[package] / "pyproject.toml").read_text())["project"]
        names = {text.split("[")[0].strip() for text in project.get("dependencies", [])}
        left += (names & PACKAGES.keys()) - found
    return found


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of every package of this tree, built as an image would."""
    out = tmp_path_factory.mktemp("wheels")
    build = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out)
    run(sys.executable, *build, *PACKAGES.values(), cwd=out)
    return out


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("service", SERVICES)
def test_service_imports_from_its_own_lock_alone(service: str, wheels: Path, tmp_path: Path) -> None:
    """A missing dependency shows here, not in the first container that somebody starts."""
    run(sys.executable, "-m", "venv", tmp_path / "bare", cwd=tmp_path)
    python = tmp_path / "bare" / "bin" / "python"
    lock = ROOT / "services" / service / "requirements.lock.txt"
    run(python, "-m", "pip", "install", "-q", "--require-hashes", "-r", lock, cwd=tmp_path)
    ours = [next(wheels.glob(f"{name.replace('-', '_')}-*.whl")) for name in closure(f"orchestra-{service}")]
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", *ours, cwd=tmp_path)
    run(python, "-m", "pip", "check", cwd=tmp_path)
    run(python, "-I", "-c", f"import orchestra_{service.replace('-', '_')}.app", cwd=tmp_path)
