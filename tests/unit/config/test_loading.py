"""A configuration is read whole: a frozen tree, or every mistake at once with its place."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestra_config import Config, ConfigError, PortRange, load, loads
from orchestra_config.paper_data import data_text

Read = Callable[..., Config]
Mistakes = Callable[..., list[str]]
ROOT = Path(__file__).parents[3]


def test_nothing_said_is_the_papers_defaults(read: Read) -> None:
    assert read("") == Config() == read("{}")
    assert Config().cache.ttl_s == 3600
    assert Config().cache.max_bytes == 100 * 10**9


def test_the_local_stack_is_a_whole_deployment(tmp_path: Path) -> None:
    config = loads(data_text("local.yaml"), environment={"ORCHESTRA_MODELS_DIR": "/m"})
    assert [node.id for node in config.nodes] == ["node-a", "node-b"]
    assert config.node("node-b").address == "127.0.0.1:50061"
    assert config.model("smollm2-135m").path == "/m/smollm2-135m.gguf"
    assert not config.model("gemma3-270m").chat_template
    assert [one.model for one in config.placements_on("node-b")] == ["gemma3-270m"]
    assert config.electricity.per_kwh == 150_000_000
    assert config.budgets[1].hard == 100_000_000_000


def test_the_launcher_can_move_every_address_of_the_local_stack() -> None:
    moved = {
        "ORCHESTRA_MODELS_DIR": "/m",
        "ORCHESTRA_ROUTER_ADDR": "127.0.0.1:1001",
        "ORCHESTRA_NODE_A_ADDR": "127.0.0.1:1002",
        "ORCHESTRA_NODE_A_PORTS": "2000-2009",
    }
    config = loads(data_text("local.yaml"), environment=moved)
    assert config.addresses.router == "127.0.0.1:1001"
    assert config.node("node-a").address == "127.0.0.1:1002"
    assert config.node("node-a").worker_ports == PortRange(first=2000, last=2009)
    assert 2009 in config.node("node-a").worker_ports


def test_the_example_of_the_readme_is_right(read: Read) -> None:
    readme = (ROOT / "libs/config/README.md").read_text(encoding="utf-8")
    text = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)[0]
    config = read(text)
    assert config.node("m5").holds[0].end == datetime(2026, 12, 1, 18, tzinfo=UTC)
    assert [device.id for device in config.node("m5").usable] == ["P40_0", "P40_1"]
    assert set(Config.model_fields) == {
        line.split(":")[0] for line in text.splitlines() if re.match(r"\w+:", line)
    }


def test_the_tree_is_frozen_hashable_and_pickles(read: Read) -> None:
    config = read("nodes: [{id: a, address: 'h:1', devices: [{id: d}], options: {threads: 2}}]")
    with pytest.raises(ValidationError):
        config.name = "other"
    with pytest.raises(TypeError):
        config.nodes[0].options["threads"] = 3  # type: ignore[index]
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) == hash(config.model_copy(deep=True))


def test_a_file_that_is_not_there_is_one_clear_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file"):
        load(tmp_path / "gone.yaml")


def test_the_file_is_found_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "o.yaml").write_text("name: found", encoding="utf-8")
    assert load(environment={"ORCHESTRA_CONFIG": str(tmp_path / "o.yaml")}).name == "found"
    assert load(environment={}) == Config()


def test_every_mistake_is_named_at_once_in_the_files_order(mistakes: Mistakes) -> None:
    told = mistakes(
        """
nodes:
  - id: a
    adress: here
    address: 127.0.0.1:70000
    engine: lamacpp
    devices: [{id: d, memory: 3 apples}]
    reserved: [e]
  - id: a
    address: ${NOWHERE}
    devices: []
placements:
  - {model: codelama-7b, node: b, pinned: yes}
cache: {ttl_s: "3"}
budgets:
  - {name: q, soft: 40$}
"""
    )
    assert told == [
        "x.yaml:4:5 nodes[0].adress: unknown key (did you mean address?)",
        "x.yaml:5:14 nodes[0].address: '127.0.0.1:70000' is not host:port with a port of 1 to 65535",
        "x.yaml:6:13 nodes[0].engine: must be one of auto, exllamav2, llamacpp, encoder, ctranslate2,"
        " openai-server, simulated (did you mean llamacpp?)",
        "x.yaml:7:31 nodes[0].devices[0].memory: '3 apples' is not a size; write bytes or for example 24GB",
        "x.yaml:8:16 nodes[0].reserved[0]: there is no device of this node 'e'",
        "x.yaml:9:9 nodes[1].id: 'a' is already used by another entry",
        "x.yaml:10:14 nodes[1].address: environment variable NOWHERE is not set and has no default",
        "x.yaml:11:14 nodes[1].devices: must not be empty",
        "x.yaml:13:13 placements[0].model: there is no model 'codelama-7b', neither in models nor in the"
        " catalogue (did you mean codellama-7b or codellama-70b or codellama-34b?)",
        "x.yaml:13:32 placements[0].node: there is no node 'b'",
        "x.yaml:13:43 placements[0].pinned: must be true or false",
        "x.yaml:14:16 cache.ttl_s: must be a number",
        "x.yaml:16:21 budgets[0].soft: '40$' is not money; write nano-dollars or for example $0.15",
    ]


NODES = (
    "nodes: [{id: a, address: '127.0.0.1:1000', devices: [{id: d}, {id: r}], reserved: [r],"
    " worker_ports: 1100-1109}%s]\n"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NODES % "" + "placements: [{model: phi-3, node: A}]", "there is no node 'A' (did you mean a?)"),
        (
            NODES % "" + "placements: [{model: phi-3, node: a, devices: [r]}]",
            "device r of node a is reserved",
        ),
        (
            NODES % "" + "placements: [{model: phi-3, node: a, devices: [x]}]",
            "there is no device of node a 'x'",
        ),
        (
            NODES % "" + "placements: [{model: phi-3, node: a}, {model: phi-3, node: a}]",
            "phi-3 is already placed on a",
        ),
        (
            NODES % ", {id: b, address: '127.0.0.1:1000', devices: [{id: d}], worker_ports: 1110-1119}",
            "127.0.0.1:1000 is already the address of nodes[0]",
        ),
        (
            NODES % ", {id: b, address: 'localhost:1001', devices: [{id: d}], worker_ports: 1109-1119}",
            "1109-1119 overlaps the worker ports of node a on the same host",
        ),
        (
            NODES % ", {id: b, address: '127.0.0.1:1105', devices: [{id: d}], worker_ports: 1110-1119}",
            "1100-1109 holds port 1105 of nodes[1]",
        ),
        (
            NODES % "" + "addresses: {router: 'localhost:1000'}",
            "127.0.0.1:1000 is already the address of router",
        ),
        (
            "nodes: [{id: a, address: 'h:1', devices: [{id: d}, {id: d}]}]",
            "'d' is already a device of this node",
        ),
        (
            "nodes: [{id: a, address: 'h:1', devices: [{id: d}], holds: [{devices: [e], reason: r}]}]",
            "device of this node 'e'",
        ),
        ("models: [{name: a, family: f}, {name: a, family: f}]", "'a' is already used by another entry"),
        ("models: [{family: f}]", "x.yaml:1:10 models[0]: name is required, but absent"),
        ("phases: {start: phase_1}", "there is no phase 'phase_1' (did you mean phase_1_subject_expertise?)"),
        (
            "phases: {define: [{name: p, groups: [{rotation_pool: [qwen-varients]}]}]}",
            "(did you mean qwen-variants?)",
        ),
        ("providers: [{name: p, kind: openai, secrets: [sk-abc]}]", "this looks like a key; name the secret"),
        ("providers: [{name: p, kind: openai, models: {gpt4: x, gtp-5: y}}]", "there is no model 'gtp-5'"),
        ("providers: [{name: p, kind: openai}, {name: p, kind: google}]", "'p' is already used"),
        ("budgets: [{name: b, provider: q, hard: $1}]", "there is no provider 'q'"),
        ("budgets: [{name: b}]", "budgets[0]: needs a soft or a hard limit"),
        ("budgets: [{name: b, hard: $0.0000000001}]", "finer than a nano-dollar"),
        ("budgets: [{name: b, hard: -1}]", "must not be negative"),
        ("policies: {fallback_chain: [gpt4, cloude]}", "there is no model 'cloude'"),
        ("policies: {wishes: [sped]}", "(did you mean speed?)"),
        ("name: a\nname: b", "x.yaml:2:1 name: key stands twice, first in line 1"),
        ("name: 5", "x.yaml:1:7 name: must be text; quote it if it looks like a number"),
        ("- a", "x.yaml:1:1: must be a mapping"),
        ("name: [a", "x.yaml:2:1: not valid YAML: while parsing a flow sequence"),
        ("cache: {ttl_s: ${T:-5}}", "a ${…} inside {…} or […] must be quoted"),
        ("name: &a [*a]", "an alias contains itself"),
        ("cache: {<<: {ttl_s: 1}}", "merge keys (<<) are not read"),
        ("cache: {ttl_s: !!float 1}", "tags like tag:yaml.org,2002:float are not read"),
        ("cache: {url: 'http://x'}", "x.yaml:1:14 cache.url"),
        ("cache: {ttl_s: .inf}", "cache.ttl_s: must be a number"),
    ],
)
def test_a_mistake_is_told_in_its_place(mistakes: Mistakes, text: str, message: str) -> None:
    told = mistakes(text)
    assert [one for one in told if message in one], told
    assert len(told) == len(set(told))


def test_a_key_written_by_mistake_is_not_repeated_in_the_message(mistakes: Mistakes) -> None:
    key = "sk-proj-0123456789abcdef0123456789abcdef0123"
    assert not [
        one for one in mistakes(f"providers: [{{name: p, kind: openai, secrets: ['{key}']}}]") if key in one
    ]


def test_a_variable_is_replaced_inside_text_and_typed_when_plain(read: Read) -> None:
    text = "name: ${A}-${B:-b}\ncache:\n  ttl_s: '${T:-60}'\nledger:\n  lease_ttl_s: ${N:-8}"
    with pytest.raises(ConfigError, match="must be a number"):
        read(text, A="a")
    config = read(text.replace("'", ""), A="a", T="1.5")
    assert (config.name, config.cache.ttl_s, config.ledger.lease_ttl_s) == ("a-b", 1.5, 8)


def test_an_empty_default_is_a_value_and_a_malformed_variable_is_a_mistake(
    read: Read, mistakes: Mistakes
) -> None:
    assert read("cache: {url: '${REDIS:-}'}").cache.url == ""
    assert mistakes("name: ${1A}") == ["x.yaml:1:7 name: '${1A}' is neither ${NAME} nor ${NAME:-default}"]


def test_words_of_old_yaml_stay_text(read: Read) -> None:
    assert read("name: on").name == "on"
    assert read("name: 12:30").name == "12:30"
    assert read("cache: {ttl_s: 1e3}").cache.ttl_s == 1000


def test_the_command_checks_a_file_and_writes_the_schema(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("nam: x\ncache: {tt_s: 1}\n", encoding="utf-8")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "orchestra_config", *arguments], capture_output=True, text=True
        )

    checked = run("check", str(wrong))
    assert checked.returncode == 1
    assert checked.stdout.splitlines() == [
        f"{wrong}:1:1 nam: unknown key (did you mean name?)",
        f"{wrong}:2:9 cache.tt_s: unknown key (did you mean ttl_s?)",
    ]
    wrong.write_text("name: right\n", encoding="utf-8")
    assert "fine. Deployment right" in run("check", str(wrong)).stdout
    schema = run("schema").stdout
    assert '"additionalProperties": false' in schema
    assert run("chek").returncode == 2


def test_the_catalogue_is_not_read_before_somebody_asks() -> None:
    code = (
        "import sys, orchestra_config; print([m for m in sys.modules if m == 'orchestra_config.paper_data'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
