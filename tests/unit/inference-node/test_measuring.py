"""Measuring without an engine: what is asked, what the rounds come to, who may measure, what is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from orchestra_errors import FailedPrecondition, NotFound, Unavailable, Unsupported, WorkerLost
from orchestra_inference_node.adapters.kept_speeds import KeptSpeeds
from orchestra_inference_node.adapters.power import CpuPackages, DeviceMeters
from orchestra_inference_node.domain.measuring import (
    Drawn,
    Figures,
    LoadedAs,
    Rounds,
    long_prompt,
    parallels,
    short_prompt,
    words_of_long_prompt,
)
from orchestra_inference_node.domain.resident import Resident, State, Wanted
from orchestra_inference_node.flows.changes import Changes
from orchestra_inference_node.flows.gauges import Gauges
from orchestra_inference_node.flows.measuring import Measuring, Progress

LOADED = LoadedAs("m", "sha256:1", "llamacpp", "b1", ("cpu0",), 1024, 4, (("threads", "1"),))


def resident(slots: int = 4, **facts: object) -> Resident:
    one = Resident(Wanted("m", "/m", "llamacpp"), "n/m", 1.0, "llamacpp", ("cpu0",))
    one.revision = "sha256:1"
    one.starts("i-1", 0.0)
    one.serves("h:1", {"slots": slots, "build": "b1", "context_tokens": 1024, **facts}, 3.5)
    return one


@dataclass
class Asked:
    """A worker in which each token takes a tenth of a second of its own clock."""

    answers: int = 1024
    """Tokens after which the model ends its answer."""
    now: float = 0.0
    running: int = 0
    most: int = 0
    prompts: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None
    error: Exception | None = None

    async def draw(self, prompt: str, tokens: int) -> Drawn:
        self.prompts.append(prompt)
        await self._work()
        drawn = min(tokens, self.answers)
        self.now += drawn / 10
        return Drawn(drawn, 0.25, len(prompt.split()) * 2)

    async def embed(self, text: str) -> None:
        self.texts.append(text)
        await self._work()
        self.now += 0.5

    async def _work(self) -> None:
        self.running += 1
        self.began.set()
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            if self.hold is not None:
                await self.hold.wait()
        finally:
            self.running -= 1


class Wattmeter:
    """Draws seven watts, always."""

    async def watts(self, device_ids: tuple[str, ...]) -> float | None:
        return 7.0


def measuring(
    one: Resident, asked: Asked, store: KeptSpeeds, find: Callable[[str], Resident] | None = None
) -> Measuring:
    def found(model: str) -> Resident:
        if model != one.wanted.model:
            raise NotFound("model", model, [one.wanted.model])
        return one

    return Measuring(
        find=find or found,
        probe_of=lambda _: asked,
        gauges=Gauges(Wattmeter(), lambda _: 300),
        store=store,
        changes=Changes(),
        clock=lambda: asked.now,
        wall=lambda: 1e9,
    )


async def moves_of(work: Measuring, model: str = "m", tokens: int = 8, rounds: int = 2) -> list[Progress]:
    return [move async for move in work.measure(model, tokens, rounds)]


async def test_the_figures_are_what_the_worker_did_and_are_kept(tmp_path: Path) -> None:
    asked, one = Asked(), resident(slots=4)
    work = measuring(one, asked, KeptSpeeds(tmp_path / "measured.json"))
    moves = await moves_of(work)
    last = moves[-1].figures
    # eight tokens, one after the other: the clock of the fake gives all of them together ten a second
    assert last.at == ((1, pytest.approx(10.0)), (4, pytest.approx(10.0)))
    assert asked.most == 4
    assert (last.first_token_s, last.load_s, last.watts, last.memory_bytes) == (0.25, 2.5, 7.0, 300)
    words = max(len(prompt.split()) for prompt in asked.prompts)
    assert last.prefill_per_s == pytest.approx(words * 2 / 0.25)
    assert work.known(one) == last
    assert (
        KeptSpeeds(tmp_path / "measured.json").of(
            LoadedAs("m", "sha256:1", "llamacpp", "b1", ("cpu0",), 1024, 4)
        )
        == last
    )


async def test_every_prompt_is_new_and_progress_names_what_runs(tmp_path: Path) -> None:
    asked = Asked()
    moves = await moves_of(measuring(resident(), asked, KeptSpeeds(tmp_path / "m.json")), rounds=3)
    assert len({prompt.split()[0] for prompt in asked.prompts}) == len(asked.prompts)
    assert [move.done for move in moves] == sorted(move.done for move in moves)
    assert moves[-1].done == moves[-1].total and not moves[-1].activity
    assert {"warms up", "4 requests at once, round 3 of 3"} <= {move.activity for move in moves}


async def test_a_model_that_ends_early_is_asked_again_until_it_drew_all(tmp_path: Path) -> None:
    asked = Asked(answers=3)
    moves = await moves_of(measuring(resident(), asked, KeptSpeeds(tmp_path / "m.json")), rounds=1)
    assert moves[-1].figures.at[0] == (1, pytest.approx(10.0))
    silent = measuring(resident(), Asked(answers=0), KeptSpeeds(tmp_path / "n.json"))
    with pytest.raises(FailedPrecondition, match="drew 0 tokens"):
        await moves_of(silent)


async def test_what_only_embeds_is_measured_in_texts(tmp_path: Path) -> None:
    asked = Asked()
    one = resident(slots=1, generate=False, embeddings=True)
    moves = await moves_of(measuring(one, asked, KeptSpeeds(tmp_path / "m.json")))
    last = moves[-1].figures
    assert last.at == ((1, pytest.approx(2.0)),) and not asked.prompts
    assert (last.first_token_s, last.prefill_per_s) == (None, None)
    neither = measuring(resident(generate=False), asked, KeptSpeeds(tmp_path / "m.json"))
    with pytest.raises(Unsupported):
        await moves_of(neither)


async def test_who_leaves_ends_the_work_and_keeps_nothing(tmp_path: Path) -> None:
    asked, one = Asked(hold=asyncio.Event()), resident()
    work = measuring(one, asked, KeptSpeeds(tmp_path / "m.json"))
    moves = work.measure("m", 8, 1)
    await anext(moves)
    reading = asyncio.ensure_future(anext(moves))
    await asyncio.wait_for(asked.began.wait(), 5)
    assert asked.running == 1
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert asked.running == 0 and work.known(one) is None
    assert not (tmp_path / "m.json").exists()
    asked.hold = None
    assert (await moves_of(work))[-1].figures.at, "and it can be measured anew"


async def test_a_model_is_measured_once_at_a_time_and_alone_on_its_device(tmp_path: Path) -> None:
    asked, one = Asked(hold=asyncio.Event()), resident()
    other = resident()
    other.wanted = replace(other.wanted, model="other")
    work = measuring(one, asked, KeptSpeeds(tmp_path / "m.json"), {"m": one, "other": other}.__getitem__)
    first = work.measure("m", 8, 1)
    await anext(first)
    with pytest.raises(FailedPrecondition, match="being measured already"):
        await moves_of(work)
    with pytest.raises(FailedPrecondition, match="m is being measured on cpu0"):
        await moves_of(work, "other")
    await first.aclose()


async def test_what_does_not_serve_is_refused_and_what_dies_fails_the_measuring(tmp_path: Path) -> None:
    one = resident()
    work = measuring(one, Asked(error=WorkerLost("m", "killed")), KeptSpeeds(tmp_path / "m.json"))
    with pytest.raises(WorkerLost):
        await moves_of(work)
    with pytest.raises(NotFound):
        await moves_of(work, "nobody")
    one.state = State.DRAINING
    with pytest.raises(Unavailable) as refused:
        await moves_of(work)
    assert refused.value.retry_after
    assert work.known(one) is None


def test_the_median_is_not_moved_by_a_disturbed_round() -> None:
    seen = Rounds(speeds={4: [100.0, 3.0, 102.0], 1: [40.0]}, watts=[10.0, 20.0], memory_bytes=[5, 9, 7])
    assert seen.figures(None, 1.0) == Figures(
        at=((1, 40.0), (4, 100.0)), watts=15.0, memory_bytes=9, measured_at=1.0
    )
    assert Rounds().figures(2.0, 1.0) == Figures(load_s=2.0, measured_at=1.0)


def test_no_more_at_once_than_slots_and_a_long_prompt_within_the_context() -> None:
    assert [parallels(slots) for slots in (1, 3, 4, 8, 32)] == [(1,), (1,), (1, 4), (1, 4, 8), (1, 4, 8)]
    assert words_of_long_prompt(context_tokens=8192, seen_words=48, seen_tokens=96) == 512
    assert words_of_long_prompt(context_tokens=400, seen_words=48, seen_tokens=48) == 300
    assert len(long_prompt("r", 1, 30).split()) == 31
    assert len({short_prompt("r", number)[:4] for number in range(65_536)}) == 65_536


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "sha256:2"},
        {"engine": "exllamav2"},
        {"engine_build": "b2"},
        {"device_ids": ("cpu0", "cpu1")},
        {"slots": 8},
        {"context_tokens": 2048},
        {"options": ()},
    ],
)
async def test_another_way_of_loading_does_not_inherit(change: dict[str, object], tmp_path: Path) -> None:
    store = KeptSpeeds(tmp_path / "m.json")
    await store.keep(LOADED, Figures(at=((1, 9.0),)))
    again = KeptSpeeds(tmp_path / "m.json")
    assert again.of(LOADED) == Figures(at=((1, 9.0),))
    assert again.of(replace(LOADED, **change)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"measured": [{}]}', '{"measured": [{"loaded": {}, "figures": {}}]}']
)
async def test_a_damaged_file_is_none_and_is_replaced(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    store = KeptSpeeds(path)
    assert store.of(LOADED) is None
    await store.keep(LOADED, Figures(load_s=1.5))
    assert KeptSpeeds(path).of(LOADED) == Figures(load_s=1.5)
    assert json.loads(path.read_text())["measured"][0]["loaded"]["model"] == "m"


async def test_a_folder_that_cannot_be_written_keeps_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = KeptSpeeds(tmp_path / "file" / "m.json")
    await store.keep(LOADED, Figures(load_s=1.5))
    assert store.of(LOADED) == Figures(load_s=1.5)


def zone(root: Path, name: str, joules: int, most: int = 1000) -> None:
    folder = root / name
    folder.mkdir(exist_ok=True)
    (folder / "energy_uj").write_text(f"{joules}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")


async def test_the_processors_counters_give_the_mean_since_they_were_asked(tmp_path: Path) -> None:
    now = 0.0
    zone(tmp_path, "intel-rapl:0", 100_000_000, 110_000_000)
    zone(tmp_path, "intel-rapl:1", 0, 110_000_000)
    zone(tmp_path, "intel-rapl:0:0", 5)
    cpu = CpuPackages(tmp_path, lambda: now)
    asked = 0

    async def refresh() -> None:
        nonlocal asked
        asked += 1

    meters = DeviceMeters({"cpu0": cpu.watts, "cpu1": cpu.watts}, refresh)
    assert await meters.watts(("cpu0",)) is None, "nothing to compare with yet"
    now = 2.0
    # the first is full on its way
    zone(tmp_path, "intel-rapl:0", 10_000_000, 110_000_000)
    zone(tmp_path, "intel-rapl:1", 10_000_000, 110_000_000)
    assert await meters.watts(("cpu0", "cpu1")) == pytest.approx(15.0), "one meter is counted once"
    assert asked == 2, "what a card last said may be of before the work"
    assert await meters.watts(("cpu0", "gpu0")) is None, "a device without a meter"
    assert CpuPackages(tmp_path / "nowhere").watts() is None
