"""Compares protos/ with the previous main by `buf breaking`.

Previous main is origin/main when that is another commit than HEAD, else the newest commit whose protos/
differ from those in the work tree. A commit without buf.yaml has no contract to compare with.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def git(*arguments: str) -> str | None:
    """Standard output, or None when git refuses (no such ref, no repository)."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def has_contract(commit: str) -> bool:
    """Whether the commit holds protos and the buf.yaml that says how to read them."""
    return all(git("cat-file", "-e", f"{commit}:{name}") is not None for name in ("buf.yaml", "protos"))


def previous() -> str | None:
    """The commit to compare with, or None."""
    published = git("rev-parse", "--verify", "--quiet", "origin/main^{commit}")
    if published and published != git("rev-parse", "HEAD") and has_contract(published):
        return published
    for commit in (git("log", "--format=%H", "--", "protos") or "").split():
        differs = git("diff", "--quiet", commit, "--", "protos") is None
        if differs and has_contract(commit):
            return commit
    return None


def main() -> int:
    """Exit code of buf, its findings on standard output; 0 when nothing is older."""
    commit = previous()
    if commit is None:
        print("no earlier contract to compare with")
        return 0
    buf = str(Path(sys.executable).with_name("buf"))
    done = subprocess.run(
        [buf, "breaking", "--against", f".git#ref={commit}"], cwd=ROOT, capture_output=True, text=True
    )
    print(f"against {commit[:12]}", *(done.stdout + done.stderr).splitlines(), sep="\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
