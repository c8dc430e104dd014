from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from orchestra_stack import StackError
from orchestra_stack.model_files import GEMMA3, MINILM, MINILM_TOKENS, SMOLLM2, Part, place


def test_a_model_is_placed_whole_and_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    [path] = place(tmp_path, [SMOLLM2], lambda name, done, total: seen.append((done, total)))
    assert path.stat().st_size == SMOLLM2.size
    assert seen[-1] == (SMOLLM2.size, SMOLLM2.size)
    before = path.stat().st_mtime_ns
    place(tmp_path, [SMOLLM2])
    assert path.stat().st_mtime_ns == before


def test_a_damaged_model_is_replaced(tmp_path: Path) -> None:
    [path] = place(tmp_path, [SMOLLM2])
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    [path] = place(tmp_path, [SMOLLM2])
    assert list(tmp_path.iterdir()) == [path]
    place(tmp_path, [SMOLLM2])


def test_a_model_of_several_files_is_a_folder(tmp_path: Path) -> None:
    paths = place(tmp_path, [MINILM, MINILM_TOKENS])
    folder = tmp_path / "minilm-l6"
    assert paths == [folder / "model.onnx", folder / "tokenizer.json"]
    assert sorted(folder.iterdir()) == paths, "and nothing unfinished"


def test_a_wrong_digest_leaves_no_file(tmp_path: Path) -> None:
    wrong = dataclasses.replace(SMOLLM2, sha256="0" * 64)
    with pytest.raises(StackError, match="has sha256"):
        place(tmp_path, [wrong])
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    absent = dataclasses.replace(GEMMA3, parts=(Part("orchestra-no-such-package", ".gguf"),))
    with pytest.raises(StackError, match="orchestra-no-such-package, which is not installed"):
        place(tmp_path, [absent])
