"""The checks find what they are for: each runs as in `make check`, in a small tree with one thing wrong."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
LOCK = "pydantic==2.14.3 \\\n    --hash=sha256:00\n"
PYPROJECT = """
[dependency-groups]
dev = ["pydantic>=2"]

[tool.importlinter]
root_packages = ["orchestra_cache"]
contracts = [{ containers = ["orchestra_cache"] }]
"""
PACKAGE = """
[project]
name = "orchestra-cache"
classifiers = ["Private :: Do Not Upload"]
dependencies = ["pydantic>=2.14"]
"""
NAMES = ("README.md", "CHANGELOG.md", "LICENSE", "Makefile", "buf.yaml", "protos/a", "compose/a", "libs/a")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The smallest tree that every check accepts, with the check scripts in it."""
    source = tmp_path / "services" / "cache" / "src" / "orchestra_cache"
    for folder in (
        source,
        tmp_path / "tests" / "checks",
        *(tmp_path / name for name in ("protos", "compose", "libs")),
    ):
        folder.mkdir(parents=True)
    for name in NAMES:
        (tmp_path / name).touch()
    for name in ("locks", "layout", "breaking"):
        shutil.copy(HERE / f"{name}.py", tmp_path / "tests" / "checks")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "services/cache/pyproject.toml").write_text(PACKAGE)
    (source / "py.typed").touch()
    for lock in (
        "requirements.lock.txt",
        "models.lock.txt",
        "engines.lock.txt",
        "services/cache/requirements.lock.txt",
    ):
        (tmp_path / lock).write_text(LOCK)
    git(tmp_path, "init", "-q", "-b", "main")
    return tmp_path


def git(tree: Path, *arguments: str) -> None:
    """One git command under a name of its own, whatever the reader has configured."""
    identity = ("-c", "user.name=check", "-c", "user.email=check@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=tree, check=True, capture_output=True)


def check(tree: Path, name: str) -> tuple[int, str]:
    """Exit code and output of one check."""
    command = [sys.executable, str(tree / "tests" / "checks" / f"{name}.py")]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["locks", "layout", "breaking"])
def test_a_tree_in_order_passes(tree: Path, name: str) -> None:
    """A check that cries on everything would soon be switched off."""
    assert check(tree, name)[0] == 0, check(tree, name)[1]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("--index-url https://pypi.example/simple", "requirements.lock.txt:3: --index-url"),
        ("orchestra-llm-cache==0.1.0 \\", "requirements.lock.txt:3: orchestra-llm-cache"),
        ("-e ./libs/errors", "requirements.lock.txt:3: -e"),
        ("httpx==0.28.1", "requirements.lock.txt:3: a pin without a hash"),
    ],
)
def test_locks_refuse_addresses_our_own_names_and_pins_without_a_hash(
    tree: Path, line: str, finding: str
) -> None:
    """Each would let a stranger's file into an installation."""
    (tree / "requirements.lock.txt").write_text(LOCK + line + "\n")
    code, said = check(tree, "locks")
    assert code == 1
    assert finding in said


@pytest.mark.parametrize(
    ("wanted", "finding"),
    [("redis>=8", "has no redis, needed is redis>=8"), ("pydantic>=3", "has 2.14.3, needed is pydantic>=3")],
)
def test_locks_that_lag_behind_a_package_are_named(tree: Path, wanted: str, finding: str) -> None:
    """A dependency added without `make lock` would break the next fresh clone only."""
    (tree / "services/cache/pyproject.toml").write_text(PACKAGE.replace("pydantic>=2.14", wanted))
    code, said = check(tree, "locks")
    assert code == 1
    assert f"services/cache/requirements.lock.txt: {finding}" in said
    assert f"\nrequirements.lock.txt: {finding}" in f"\n{said}"


def test_the_gpu_engine_is_pinned_as_its_service_wants_it(tree: Path) -> None:
    """No other lock has it, and its tests read the wheel that this one names."""
    extra = '[project.optional-dependencies]\nexllamav2 = ["exllamav2==0.3.2", "pydantic>=2"]\n'
    (tree / "services/cache/pyproject.toml").write_text(PACKAGE + extra)
    code, said = check(tree, "locks")
    assert code == 1
    assert "engines.lock.txt: has no exllamav2, needed is exllamav2==0.3.2" in said
    assert "engines.lock.txt: has no pydantic" not in said


@pytest.mark.parametrize(
    ("path", "text", "finding"),
    [
        ("NOTES.md", "", "NOTES.md: does not belong on the top level"),
        ("services/cache/src/orchestra_cache/utils.py", "", "utils.py: a name that says nothing"),
        ("services/cache/src/orchestra_cache/long.py", "x = 1\n" * 301, "long.py: 301 lines"),
        ("services/router/pyproject.toml", PACKAGE, "services/router/pyproject.toml: named orchestra-cache"),
        ("services/router/pyproject.toml", PACKAGE, "orchestra_router is missing in root_packages"),
        ("services/cache/pyproject.toml", "[project]\nname='orchestra-cache'", "lacks the classifier"),
    ],
)
def test_layout_names_what_is_out_of_place(tree: Path, path: str, text: str, finding: str) -> None:
    """The finding starts with the path, so that a reader can jump there."""
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text(text)
    code, said = check(tree, "layout")
    assert code == 1
    assert finding in said


def test_breaking_compares_with_the_last_contract_that_differs(tree: Path) -> None:
    """A renumbered field is caught both before and after it was committed."""
    proto = tree / "protos/a.proto"
    (tree / "buf.yaml").write_text("version: v2\nmodules:\n  - path: protos\n")
    (tree / "protos/a").unlink()
    proto.write_text('syntax = "proto3";\npackage a.v1;\nmessage A {\n  string b = 1;\n}\n')
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "contract")
    assert check(tree, "breaking") == (0, "no earlier contract to compare with\n")
    proto.write_text(proto.read_text().replace("b = 1", "b = 2"))
    refuses_renumbering(tree)
    git(tree, "commit", "-qam", "renumber")
    git(tree, "commit", "-q", "--allow-empty", "-m", "something else")
    refuses_renumbering(tree)


def refuses_renumbering(tree: Path) -> None:
    """buf names the field that went away."""
    code, said = check(tree, "breaking")
    assert code != 0
    assert 'field "1"' in said
