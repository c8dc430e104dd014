"""Generates libs/api/src/orchestra from protos/.

Only `*_service.proto` gets the gRPC plugins. Every folder becomes a package, so that the tree installs as
one. `python libs/api/generate.py` rewrites the tree; `--out DIR` writes it elsewhere, for the drift check.
"""

import argparse
import shutil
import sys
import sysconfig
import tempfile
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
HOME = ROOT / "libs" / "api" / "src"


def generate(out: Path) -> list[Path]:
    """Writes `out/orchestra/**` anew and returns its files. Raises RuntimeError when protoc refuses."""
    shutil.rmtree(out / "orchestra", ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    protos = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
    services = [path for path in protos if path.endswith("_service.proto")]
    if not protos:
        raise RuntimeError(f"no .proto file under {PROTOS}")
    protoc([f"--python_out={out}", f"--mypy_out=quiet:{out}"], protos)
    if services:
        protoc([f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"], services)
    package = out / "orchestra"
    (package / "py.typed").touch()
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()
    return sorted(path for path in package.rglob("*") if path.is_file())


def protoc(plugins: list[str], protos: list[str]) -> None:
    """Runs the bundled protoc; its own messages go to stderr."""
    from grpc_tools import protoc as compiler

    well_known = str(resources.files("grpc_tools") / "_proto")
    scripts = Path(sysconfig.get_path("scripts"))
    typed = [f"--plugin={name}={scripts / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    paths = [f"--proto_path={PROTOS}", f"--proto_path={well_known}"]
    status = compiler.main(["protoc", *paths, *typed, *plugins, *protos])
    if status != 0:
        raise RuntimeError(f"protoc refused the contracts (exit {status})")


def main() -> int:
    """Exit code 0, or 1 with one line on stderr; the tree stays as it was when protoc refuses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HOME, help="folder that gets orchestra/")
    out: Path = parser.parse_args().out
    with tempfile.TemporaryDirectory() as scratch:
        try:
            files = generate(Path(scratch))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
        shutil.rmtree(out / "orchestra", ignore_errors=True)
        shutil.copytree(Path(scratch) / "orchestra", out / "orchestra")
    print(f"{len(files)} files in {out / 'orchestra'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
