"""A cloud model through the whole mesh: router, ledger, proxy and the vendor's own SDK, over real sockets."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from orchestra.generation.v1 import event_pb2, prompt_pb2, request_pb2, routing_pb2, usage_pb2
from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as ledger_grpc
from orchestra.ledger.v1 import entry_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1 import router_service_pb2_grpc as pb_grpc
from orchestra_errors import OrchestraError
from orchestra_rpc import call_stream, call_unary, open_channel
from orchestra_stack.deployment import local_template
from orchestra_testing import LocalMesh

pytestmark = pytest.mark.timeout(180)

KEY = "canary-51c0ffee-e2e-key"
PROVIDER = """
providers:
  - name: openai
    kind: openai
    tier: premium
    base_url: {url}
    secrets: [openai/key]
"""


@pytest.fixture
def provider(llmock: Any) -> Any:
    return llmock


@pytest.fixture
def cloud(provider: Any) -> Iterator[LocalMesh]:
    """The services without local models, with one provider. The paper's prices and budgets hold."""
    template = local_template() + PROVIDER.format(url=provider.base_url())
    with LocalMesh(
        with_models=False, template=template, variables={"ORCHESTRA_SECRET_OPENAI_KEY": KEY}
    ) as mesh:
        yield mesh


class Asked:
    """Stubs of the router and the ledger of one mesh."""

    def __init__(
        self, router: pb_grpc.RouterServiceAsyncStub, ledger: ledger_grpc.CostLedgerServiceAsyncStub
    ) -> None:
        self.router = router
        self.ledger = ledger

    async def events(self, run: str, *, n: int = 1, **routing: Any) -> list[event_pb2.GenerationEvent]:
        generation = request_pb2.GenerationRequest(
            run_id=run, routing=routing_pb2.Routing(model="gpt4", validation=True, **routing)
        )
        message = generation.chat.messages.add(role=prompt_pb2.ROLE_USER)
        # never asked before, so that no stored draw answers
        message.parts.add(text=f"Say something about {uuid.uuid4().hex}.")
        generation.sampling.n = n
        generation.sampling.max_tokens = 64
        call = self.router.Generate(pb.GenerateRequest(generation=generation), timeout=30)
        async with call_stream(call) as answers:
            return [answer.event async for answer in answers]

    async def entries(self, run: str, attempts: int) -> entry_pb2.CostBucket:
        """The run's sums, as soon as so many attempts are in the books."""
        request = ledger_pb.QueryCostsRequest(filter=ledger_pb.CostFilter(run_id=run))
        async with asyncio.timeout(20):
            while True:
                found = (await call_unary(self.ledger.QueryCosts(request))).buckets
                if found and found[0].attempts >= attempts:
                    return found[0]
                await asyncio.sleep(0.05)

    async def budget(self) -> entry_pb2.Budget:
        """The paper's hard budget of the premium tier."""
        found = await call_unary(self.ledger.ListBudgets(ledger_pb.ListBudgetsRequest()))
        return next(one for one in found.budgets if one.name == "premium" and one.hard)

    async def nothing_held(self) -> entry_pb2.Budget:
        """The budget as soon as no reservation is left: they are given back off the request's path."""
        async with asyncio.timeout(20):
            while True:
                budget = await self.budget()
                if not budget.reserved_nanos:
                    return budget
                await asyncio.sleep(0.05)


@pytest.fixture
async def asked(cloud: LocalMesh) -> AsyncIterator[Asked]:
    to_router, to_ledger = open_channel(cloud.router), open_channel(cloud.address("cost-ledger"))
    made = Asked(pb_grpc.RouterServiceStub(to_router), ledger_grpc.CostLedgerServiceStub(to_ledger))
    # the router and the proxy take a moment to hear the prices; before that nothing priced may leave
    async with asyncio.timeout(30):
        while True:
            try:
                await made.events("warm-up")
                break
            except OrchestraError:
                await asyncio.sleep(0.2)
    yield made
    await asyncio.gather(to_router.close(), to_ledger.close())


async def test_every_sample_is_settled_to_the_nano_dollar(asked: Asked, cloud: LocalMesh) -> None:
    await asked.entries("warm-up", 1)
    before = await asked.budget()
    events = await asked.events("settled", n=2)
    done = [event.finished for event in events if event.HasField("finished")]
    assert len({one.provenance.sample_id for one in done}) == 2
    for one in done:
        assert one.provenance.provider == "openai"
        assert one.provenance.model == "gpt-4o"
        assert one.provenance.tier == routing_pb2.TIER_PREMIUM
        assert one.cost.state == usage_pb2.COST_STATE_SETTLED
        spent = one.usage.prompt_tokens * 1100 + one.usage.completion_tokens * 4400
        assert one.cost.nanos == spent > 0
    total = sum(one.cost.nanos for one in done)
    assert (await asked.entries("settled", 2)).cost_nanos == total
    after = await asked.nothing_held()
    assert after.spent_nanos - before.spent_nanos == total
    assert KEY not in "".join(cloud.log(name) for name in ("router", "cloud-proxy", "cost-ledger"))


async def test_a_provider_that_fails_is_named_and_holds_no_money(asked: Asked, provider: Any) -> None:
    seen = len(provider.requests)
    provider.fail(500, times=None)
    with pytest.raises(OrchestraError) as failed:
        await asked.events("failing")
    assert failed.value.metadata.get("provider") == "openai"
    assert len(provider.requests) - seen <= 3, "tries do not multiply over router and proxy"
    await asked.nothing_held()


async def test_what_must_stay_at_home_never_leaves(asked: Asked, provider: Any) -> None:
    seen = len(provider.requests)
    with pytest.raises(OrchestraError):
        await asked.events("local", local_only=True)
    assert len(provider.requests) == seen


async def test_a_frozen_budget_stops_every_paid_call(asked: Asked, provider: Any) -> None:
    budget = await asked.budget()
    budget.frozen = True
    change = ledger_pb.UpdateBudgetRequest(request_id="freeze-1", budget=budget)
    change.update_mask.paths.append("frozen")
    await call_unary(asked.ledger.UpdateBudget(change))
    seen = len(provider.requests)
    with pytest.raises(OrchestraError) as refused:
        await asked.events("frozen")
    assert refused.value.reason == "BUDGET_FROZEN"
    assert len(provider.requests) == seen
