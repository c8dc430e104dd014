"""Every import rule of the root pyproject.toml catches what it was written for.

A skeleton of the packages stands in for the real ones: what is tried here are the rules, not today's imports.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
SERVICES: list[str] = RULES["contracts"][0]["containers"]
LAYERS = ("app", "rpc", "flows", "adapters", "ports", "domain")

# rule (by the start of its name) → module, and the import that must not stand there
VIOLATIONS = [
    ("inside a service", "orchestra_cache.flows.lookup", "import orchestra_cache.adapters.store"),
    ("inside a service", "orchestra_cost_ledger.ports", "import orchestra_cost_ledger.flows.settle"),
    ("between packages", "orchestra_router.adapters.cache", "import orchestra_cache.app"),
    ("between packages", "orchestra_rpc.server", "import orchestra_router.domain.choice"),
    ("between packages", "orchestra_telemetry.tracing", "import orchestra_rpc.server"),
    ("between packages", "orchestra_errors.kinds", "import orchestra_config.tree"),
    ("between packages", "orchestra_cache.app", "import orchestra_testing.ports"),
    ("the launcher", "orchestra_stack.launch", "import orchestra_router.app"),
    ("servicers reach", "orchestra_router.rpc.servicer", "import orchestra_router.adapters.cache"),
    ("domain is", "orchestra_router.domain.choice", "import asyncio"),
    ("domain is", "orchestra_cache.domain.key", "from google.protobuf import any_pb2"),
    ("domain is", "orchestra_model_manager.domain.planner", "from orchestra.models.v1 import model_pb2"),
    ("domain is", "orchestra_cost_ledger.domain.pricing", "import structlog"),
    ("flows and ports", "orchestra_router.flows.generate", "import grpc.aio"),
    ("vendors' SDKs", "orchestra_router.adapters.openai", "import openai"),
    ("vendors' SDKs", "orchestra_cloud_proxy.flows.generate", "from anthropic import AsyncAnthropic"),
    ("engines only", "orchestra_model_manager.adapters.probe", "import torch"),
    ("engines only", "orchestra_inference_node.flows.load", "from xllamacpp import Server"),
    ("Vault only", "orchestra_cloud_proxy.adapters.keys", "import hvac"),
    ("Redis only", "orchestra_cost_ledger.adapters.store", "import redis.asyncio"),
    ("Redis only", "orchestra_cache.flows.store", "import redis"),
]
ALLOWED = [
    ("orchestra_cache.adapters.redis_store", "import redis.asyncio"),
    ("orchestra_cloud_proxy.adapters.openai_chat", "import openai"),
    ("orchestra_inference_node.adapters.llamacpp.engine", "import xllamacpp"),
    ("orchestra_secrets.vault", "import hvac"),
    ("orchestra_router.adapters.ledger", "from orchestra.ledger.v1 import entry_pb2\nimport grpc"),
    ("orchestra_router.app", "import orchestra_router.adapters.ledger, orchestra_router.rpc.servicer"),
    ("orchestra_router.rpc.servicer", "import orchestra_router.flows.generate, orchestra_rpc.server"),
    (
        "orchestra_router.flows.generate",
        "import asyncio, orchestra_router.ports, orchestra_router.domain.choice",
    ),
]


def plant(source: Path, module: str, code: str) -> None:
    """Appends code to a module, making every package on the way to it."""
    *packages, name = module.split(".")
    folder = source
    for package in packages:
        folder = folder / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    with (folder / f"{name}.py").open("a") as file:
        file.write(code + "\n")


def skeleton(source: Path) -> None:
    """Every root package, and in every service every layer, with nothing in it."""
    for package in RULES["root_packages"]:
        plant(source, f"{package}.anything", "")
    for service in SERVICES:
        for layer in LAYERS:
            plant(
                source,
                f"{service}.{layer}.anything" if layer not in ("app", "ports") else f"{service}.{layer}",
                "",
            )


def lint(source: Path) -> subprocess.CompletedProcess[str]:
    """One run of the real rules over the packages in `source`."""
    command = [
        Path(sys.executable).with_name("lint-imports"),
        "--config",
        ROOT / "pyproject.toml",
        "--no-cache",
    ]
    environment = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"}
    return subprocess.run(
        [str(part) for part in command],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def broken(output: str) -> dict[str, str]:
    """The part of the output that explains it, by the name of each broken rule."""
    _, _, details = output.partition("Broken contracts")
    names = [contract["name"] for contract in RULES["contracts"] if f"{contract['name']} BROKEN" in output]
    marks = sorted((details.index(f"\n{name}\n"), name) for name in names)
    ends = [start for start, _ in marks[1:]] + [len(details)]
    return {name: details[start:end] for (start, name), end in zip(marks, ends, strict=True)}


def test_rules_let_the_intended_shape_pass(tmp_path: Path) -> None:
    """A wall that refuses what the design asks for would be taken down by the first author who meets it."""
    skeleton(tmp_path)
    for module, code in ALLOWED:
        plant(tmp_path, module, code)
    done = lint(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the rules say about all violations planted at once."""
    source = tmp_path_factory.mktemp("walls")
    skeleton(source)
    for _, module, code in VIOLATIONS:
        plant(source, module, code)
    done = lint(source)
    assert done.returncode == 1, done.stdout + done.stderr
    return broken(done.stdout)


@pytest.mark.parametrize(("rule", "module", "code"), VIOLATIONS)
def test_rules_catch_a_planted_violation(findings: dict[str, str], rule: str, module: str, code: str) -> None:
    """A rule that nothing can break is no rule; each names the module that broke it."""
    explanations = [text for name, text in findings.items() if name.startswith(rule)]
    assert any(f"{module} ->" in text for text in explanations), (
        f"{code!r} in {module} passed: {findings.keys()}"
    )


@pytest.mark.parametrize(("service", "caught"), [("router", True), ("cloud-proxy", False)])
def test_genai_is_walled_by_ruff(service: str, caught: bool) -> None:
    """import-linter sees only `google`, as protobuf is; ruff bans the full name outside adapters."""
    name = f"services/{service}/src/orchestra_{service.replace('-', '_')}/adapters/gemini.py"
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--stdin-filename", name, "-"]
    code = "from google import genai\n\nprint(genai)\n"
    done = subprocess.run(ruff, cwd=ROOT, input=code, capture_output=True, text=True, check=False)
    assert done.returncode == int(caught), done.stdout + done.stderr
    assert ("TID251" in done.stdout) == caught
