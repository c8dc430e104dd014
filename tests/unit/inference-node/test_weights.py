"""The revision of a model of several files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from orchestra_inference_node.adapters.weights import CheckedFiles
from orchestra_inference_node.domain.resident import Wanted
from orchestra_inference_node.ports import ModelFiles


async def revision(folder: Path, *names: str) -> str:
    files = tuple(folder / name for name in names)
    checked = CheckedFiles(folder / "digests.json", lambda *_: ModelFiles(files, "", chat=False))
    weights = await checked.check(Wanted("m", str(folder), "e", chat=False), "e", lambda done, total: None)
    return weights.revision


async def test_files_of_one_name_in_two_folders_all_count(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "config.json").write_text("a")
    (tmp_path / "1_Pooling/config.json").write_text("b")
    names = ("config.json", "1_Pooling/config.json")
    before = await revision(tmp_path, *names)
    listed = "".join(
        f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)
    )
    assert before == f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"
    (tmp_path / "config.json").write_text("another")
    assert await revision(tmp_path, *names) != before


async def test_one_file_has_its_own_digest(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("a")
    assert await revision(tmp_path, "m") == f"sha256:{hashlib.sha256(b'a').hexdigest()}"
