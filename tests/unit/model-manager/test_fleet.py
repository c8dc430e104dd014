"""What a node is told to load, and with which engine."""

from __future__ import annotations

import pytest

from orchestra_config import loads, merged
from orchestra_model_manager.flows.fleet import Fleet

DEPLOYMENT = """
nodes:
  - {id: a, address: "127.0.0.1:50060", engine: llamacpp, devices: [{id: cpu0, kind: cpu}]}
models:
  - {name: small, path: /m/small.gguf}
  - {name: embeds, path: /m/embeds, format: onnx, context: 512}
  - {name: codet5-base, path: /m/codet5}
  - {name: graphcodebert, path: /m/other.gguf, format: gguf}
placements:
  - {model: small, node: a}
  - {model: embeds, node: a, engine: auto}
"""


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    config = loads(DEPLOYMENT, environment={})
    return Fleet(config, merged(config))


@pytest.mark.parametrize(
    ("model", "engine", "chat"),
    [
        ("small", "llamacpp", True),
        ("embeds", "auto", False),
        ("codet5-base", "ctranslate2", False),
        ("graphcodebert", "llamacpp", True),
    ],
    ids=["the node's", "the placement's own", "what the catalogue says it is stored as", "said otherwise"],
)
def test_the_engine_follows_what_a_model_is_stored_as(
    fleet: Fleet, model: str, engine: str, chat: bool
) -> None:
    order = fleet.order(model, "a")
    assert (order.engine, order.chat) == (engine, chat)


def test_the_papers_evaluators_load_when_their_files_are_there(fleet: Fleet) -> None:
    for name in ("codet5-large", "codet5-base"):
        assert fleet.catalogue.resolve(name).stored_as == "ctranslate2"
    assert fleet.need("codet5-large").why_not, "no files are configured for it"
    assert not fleet.need("codet5-base").why_not
    assert fleet.order("codet5-base", "a").path == "/m/codet5"
