"""The fast tier's copies: whole or not used, gone on from after an interruption, bounded in speed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from orchestra_errors import DataLoss, FailedPrecondition, NotFound
from orchestra_inference_node.adapters.fast_tier import FastTier, Stopped
from orchestra_inference_node.domain.resident import Placed, Wanted
from orchestra_inference_node.flows.prefetching import Prefetched, Prefetching
from orchestra_inference_node.ports import ModelFiles

MIB = 1024 * 1024


class StopAfter(threading.Event):
    """Set after so many blocks; keeps how long each wait was asked to be, and waits for none of them."""

    def __init__(self, blocks: int | None = None) -> None:
        super().__init__()
        self.blocks = blocks
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.blocks is not None and len(self.waits) >= self.blocks


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "slow" / "m.gguf"
    path.parent.mkdir()
    path.write_bytes(os.urandom(4 * MIB + 17))
    return path


@pytest.fixture
def tier(tmp_path: Path) -> FastTier:
    return FastTier(str(tmp_path / "fast"), 0.0)


def copied(tier: FastTier, path: Path) -> Path:
    return Path(tier.choose(str(path)))


def test_a_copy_is_whole_used_and_made_once(tier: FastTier, model: Path, tmp_path: Path) -> None:
    assert copied(tier, model) == model
    first = tier.copy(str(model), (model,), StopAfter())
    assert first.anew and first.bytes_total == 4 * MIB + 17
    assert first.digests == {"m.gguf": hashlib.sha256(model.read_bytes()).hexdigest()}
    copy = copied(tier, model)
    assert copy != model and copy.name == "m.gguf" and copy.read_bytes() == model.read_bytes()
    assert tier.chosen(str(model)) == str(copy)
    again = StopAfter()
    assert not tier.copy(str(model), (model,), again).anew and not again.waits
    assert not list((tmp_path / "fast").rglob("*.part")) and not list((tmp_path / "fast").rglob("*.mark"))


def test_a_source_that_changed_is_loaded_itself_until_it_is_copied_again(tier: FastTier, model: Path) -> None:
    tier.copy(str(model), (model,), StopAfter())
    model.write_bytes(b"another")
    assert copied(tier, model) == model
    assert tier.copy(str(model), (model,), StopAfter()).anew
    assert copied(tier, model).read_bytes() == b"another"


def test_a_copy_serves_while_its_source_is_out_of_reach_and_a_torn_one_does_not(
    tier: FastTier, model: Path
) -> None:
    tier.copy(str(model), (model,), StopAfter())
    content = model.read_bytes()
    model.rename(model.with_suffix(".away"))
    copy = copied(tier, model)
    assert copy.read_bytes() == content
    copy.write_bytes(content[:-1])
    assert copied(tier, model) == model


def test_an_interrupted_copy_is_gone_on_from(tier: FastTier, model: Path) -> None:
    with pytest.raises(Stopped):
        tier.copy(str(model), (model,), StopAfter(blocks=3))
    assert copied(tier, model) == model, "half a copy is none"
    rest = StopAfter()
    assert tier.copy(str(model), (model,), rest).anew
    assert len(rest.waits) == 2, "the blocks that were missing"
    assert copied(tier, model).read_bytes() == model.read_bytes()


def test_what_the_disk_lost_meanwhile_is_copied_again(tier: FastTier, model: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        tier.copy(str(model), (model,), StopAfter(blocks=3))
    (part,) = (tmp_path / "fast").rglob("*.part")
    with part.open("r+b") as file:
        file.seek(MIB)
        file.write(b"\0" * 8)
    again = StopAfter()
    tier.copy(str(model), (model,), again)
    assert len(again.waits) == 5
    assert copied(tier, model).read_bytes() == model.read_bytes()


def test_a_copy_keeps_to_its_speed(model: Path, tmp_path: Path) -> None:
    tier = FastTier(str(tmp_path / "fast"), MIB, clock=lambda: 0.0)
    stop = StopAfter()
    tier.copy(str(model), (model,), stop)
    # the clock stands still, so each wait is what the bytes so far take
    assert stop.waits == pytest.approx([1.0, 2.0, 3.0, 4.0, 4.0 + 17 / MIB])


def test_a_folder_goes_whole(tier: FastTier, tmp_path: Path) -> None:
    folder = tmp_path / "slow" / "exl2"
    (folder / "sub").mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "sub/tokenizer.json"):
        (folder / name).write_text(name)
    done = tier.copy(str(folder), (folder / "model.safetensors",), StopAfter())
    assert sorted(done.digests) == ["config.json", "model.safetensors", "sub/tokenizer.json"]
    assert (copied(tier, folder) / "sub" / "tokenizer.json").read_text() == "sub/tokenizer.json"


def test_without_a_fast_tier_or_room_on_it_is_refused(
    model: Path, tier: FastTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FailedPrecondition, match="not set"):
        FastTier("", 0.0).copy(str(model), (model,), StopAfter())
    assert FastTier("", 0.0).choose(str(model)) == str(model)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 90, 10))
    with pytest.raises(FailedPrecondition, match="10 are free"):
        tier.copy(str(model), (model,), StopAfter())


def prefetching(tier: FastTier, *files: Path) -> Prefetching:
    def inspect(engine: str, path: str, options: dict[str, str]) -> ModelFiles:
        if not Path(path).exists() and files:
            raise FileNotFoundError(path)
        return ModelFiles(files, "", chat=False)

    return Prefetching(tier, lambda _: Placed("llamacpp", ("cpu0",), ""), inspect)


def wanted(model: Path, revision: str = "") -> Wanted:
    return Wanted("m", str(model), "auto", expected_revision=revision)


async def test_another_revision_is_refused_and_not_kept(tier: FastTier, model: Path) -> None:
    with pytest.raises(FailedPrecondition, match="expected was sha256:00"):
        await prefetching(tier, model).prefetch(wanted(model, f"sha256:{'0' * 64}"))
    assert copied(tier, model) == model
    right = f"sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}"
    assert await prefetching(tier, model).prefetch(wanted(model, right)) == Prefetched(4 * MIB + 17, True)


async def test_what_is_not_there_or_has_no_files_says_so(tier: FastTier, model: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await prefetching(tier, model).prefetch(wanted(tmp_path / "nowhere.gguf"))
    with pytest.raises(FailedPrecondition, match="no files"):
        await prefetching(tier).prefetch(wanted(model))
    (tmp_path / "fast").write_text("a file where the folder should be")
    with pytest.raises(DataLoss):
        await prefetching(tier, model).prefetch(wanted(model))


async def test_who_leaves_stops_the_copy_and_the_next_one_finishes_it(model: Path, tmp_path: Path) -> None:
    began, loop = asyncio.Event(), asyncio.get_running_loop()

    def clock() -> float:
        loop.call_soon_threadsafe(began.set)
        return 0.0

    slow = FastTier(str(tmp_path / "fast"), 1.0, clock)
    work = prefetching(slow, model)
    asking = asyncio.create_task(work.prefetch(wanted(model)))
    await asyncio.wait_for(began.wait(), 10)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asking, 10)
    quick = FastTier(str(tmp_path / "fast"), 0.0)
    assert (await prefetching(quick, model).prefetch(wanted(model))).copied
    assert copied(quick, model).read_bytes() == model.read_bytes()
