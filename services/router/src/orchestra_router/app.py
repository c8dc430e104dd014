"""Puts the router together and runs it. The only file that sees every layer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from orchestra.cache.v1.cache_service_pb2_grpc import CacheServiceStub
from orchestra.ledger.v1.cost_ledger_service_pb2_grpc import CostLedgerServiceStub
from orchestra.models.v1.model_manager_service_pb2_grpc import ModelManagerServiceStub
from orchestra.router.v1.router_service_pb2_grpc import add_RouterServiceServicer_to_server
from orchestra_accounting import LedgerShipper, PriceFeed, Spool
from orchestra_config import Config
from orchestra_diversity import DiversityProcess
from orchestra_rpc import Background, Service, Shutdown, open_channel, serve
from orchestra_telemetry import Telemetry

from .adapters.cache_client import CacheClient
from .adapters.catalogue_names import CatalogueNames
from .adapters.embed_calls import EmbedCalls
from .adapters.ledger_client import LedgerClient
from .adapters.placements import PlacementWatch
from .adapters.roads import OpenRoads
from .adapters.usage_spool import SpooledUsage
from .adapters.worker_channels import Peers
from .config import Settings
from .domain.cancelled_runs import CancelledRuns
from .flows.admission import Admission
from .flows.batch import BatchFlow
from .flows.bookkeeping import Books
from .flows.deliveries import Deliveries
from .flows.diverse import DiverseFlow
from .flows.diversity import MeasureFlow
from .flows.embed import EmbedFlow
from .flows.explain import ExplainFlow, ListModelsFlow
from .flows.feedback import FeedbackFlow
from .flows.generate import GenerateFlow
from .flows.intake import Bounds, Intake
from .flows.journey import Guide
from .flows.plan import Planning
from .flows.pricing import estimates
from .flows.running import Running
from .flows.runs import RunsFlow
from .flows.traffic import Traffic
from .rpc.servicer import Flows, RouterServicer

SERVICE = "orchestra.router.v1.RouterService"
_LEDGER = "/orchestra.ledger.v1.CostLedgerService/"


@dataclass(frozen=True, slots=True)
class Router:
    """A router that is put together and watches its neighbours."""

    servicer: RouterServicer
    placements: PlacementWatch
    prices: PriceFeed
    shutdown: Shutdown

    @property
    def service(self) -> Service:
        """Healthy as long as it answers: what a missing neighbour costs is told call by call."""
        return Service(SERVICE, add_RouterServiceServicer_to_server, self.servicer)


async def build(config: Config, settings: Settings, telemetry: Telemetry) -> Router:
    """Construct and wire everything, and start to watch. Raises what the spool raises when its folder is
    taken."""
    addresses, limits = config.addresses, config.services.router
    shutdown = Shutdown()
    names = CatalogueNames(config)
    peers = Peers(telemetry, addresses.cloud_proxy)
    manager_channel = open_channel(addresses.model_manager, telemetry=telemetry)
    # a lookup is not repeated: its budget is shorter than a repeat
    cache_channel = open_channel(addresses.cache, telemetry=telemetry)
    ledger_channel = open_channel(
        addresses.cost_ledger,
        telemetry=telemetry,
        idempotent=[
            _LEDGER + name for name in ("QueryCosts", "ListPrices", "RecordUsage", "Reserve", "Release")
        ],
    )
    # so that the first request does not pay for the connection out of its lookup's budget
    cache_channel.get_state(try_to_connect=True)
    ledger_stub = CostLedgerServiceStub(ledger_channel)
    placements = PlacementWatch(ModelManagerServiceStub(manager_channel), names, peers.keep_only)
    prices = PriceFeed(ledger_stub, settings.price_refresh_s)
    cache = CacheClient(
        CacheServiceStub(cache_channel), settings.cache_budget_s, settings.cache_batch_budget_s
    )
    ledger = LedgerClient(ledger_stub, settings.ledger_budget_s)
    spool = await Spool.open(settings.state_dir / "spool", max_bytes=limits.spool_max)
    shipper = LedgerShipper(ledger_stub, spool)
    shipper.start()
    deliveries = Deliveries(cache, ledger)
    deliveries.start()
    diversity = DiversityProcess()
    watching = Background()
    watching.spawn(placements.watch(), name="placements")
    watching.spawn(prices.watch(), name="prices")

    running = Running(CancelledRuns())
    intake = Intake(
        names,
        placements,
        running,
        Bounds(limits.max_prompt, limits.max_samples),
        config.policies.fallback_chain,
    )
    guide = Guide(
        snapshots=placements,
        prices=prices,
        estimates=estimates(prices),
        traffic=Traffic(),
        running=running,
        deliveries=deliveries,
        books=Books(SpooledUsage(spool)),
        max_attempts=limits.max_attempts,
        default_objective=config.policies.default_objective,
    )
    roads = OpenRoads(
        peers,
        cache,
        ledger,
        window=limits.batch_size,
        first_s=limits.first_token_timeout_s,
        later_s=limits.silence_timeout_s,
    )
    admission = Admission(settings.max_requests)
    measuring = MeasureFlow(diversity)
    planning = Planning(intake, names, guide, limits.max_samples)
    flows = Flows(
        generate=GenerateFlow(intake, roads, guide, admission),
        batch=BatchFlow(intake, roads, guide, admission, settings.max_batch_items, limits.max_samples),
        diverse=DiverseFlow(planning, roads, guide, admission, measuring),
        embed=EmbedFlow(names, guide, EmbedCalls(peers), admission, limits.max_prompt),
        explain=ExplainFlow(intake, guide),
        models=ListModelsFlow(names, placements),
        measure=measuring,
        feedback=FeedbackFlow(ledger),
        runs=RunsFlow(running, ledger),
    )

    async def ship_the_rest() -> None:
        await shipper.flush(timeout=3.0)
        await shipper.close()
        await spool.close()

    async def close_channels() -> None:
        await asyncio.gather(manager_channel.close(), cache_channel.close(), ledger_channel.close())

    shutdown.add("watching", watching.close)
    shutdown.add("deliveries", deliveries.close)
    shutdown.add("diversity", diversity.aclose)
    shutdown.add("spool", ship_the_rest)
    shutdown.add("peers", peers.close)
    shutdown.add("channels", close_channels, after=["watching", "deliveries", "spool"])
    return Router(RouterServicer(flows), placements, prices, shutdown)


async def run(config: Config, settings: Settings, on_bound: Callable[[str, int], None] | None = None) -> None:
    """Serve until told to stop, drain, deliver what is left."""
    telemetry = Telemetry.start(
        "router",
        otlp_endpoint=settings.otlp_endpoint or None,
        metrics_port=settings.metrics_port,
        metrics_host=settings.metrics_host,
    )
    router = await build(config, settings, telemetry)
    router.shutdown.add("telemetry", telemetry.close, after=["channels", "peers"])
    await serve(
        [router.service],
        settings=settings.rpc(),
        telemetry=telemetry,
        shutdown=router.shutdown,
        on_bound=on_bound,
    )
