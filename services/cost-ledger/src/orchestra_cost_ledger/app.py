"""The composition root: constructs, wires, and says in which order things end."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

import structlog

from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as pb_grpc
from orchestra_config import Config, merged
from orchestra_cost_ledger.adapters.sqlite.migrations import NewerDatabase
from orchestra_cost_ledger.adapters.sqlite.store import SqliteStore
from orchestra_cost_ledger.config import Settings, UnusableStore, database_file
from orchestra_cost_ledger.domain.moment import SECOND
from orchestra_cost_ledger.flows import clock
from orchestra_cost_ledger.flows.comparing import CompareCosts
from orchestra_cost_ledger.flows.keeping import Budgets, Keys
from orchestra_cost_ledger.flows.pricing import Prices
from orchestra_cost_ledger.flows.recording import RecordUsage
from orchestra_cost_ledger.flows.reserving import Reserve
from orchestra_cost_ledger.flows.seeding import budgets_of, prices_of
from orchestra_cost_ledger.ports import LedgerStore
from orchestra_cost_ledger.rpc.servicer import CostLedgerServicer, Flows
from orchestra_rpc import Service, Shutdown, serve
from orchestra_telemetry import Telemetry

NAME = "orchestra.ledger.v1.CostLedgerService"
log = structlog.get_logger()


def service(store: LedgerStore, config: Config) -> Service:
    """The gRPC service over a store."""
    prices = Prices(store, clock.now)
    hold_us = int(config.ledger.reservation_ttl_s * SECOND)
    lease_us = int(config.ledger.lease_ttl_s * SECOND)
    flows = Flows(
        record=RecordUsage(store),
        reserve=Reserve(store, prices, clock.now, hold_us),
        compare=CompareCosts(store, prices, clock.now),
        prices=prices,
        budgets=Budgets(store, clock.now, lease_us),
        keys=Keys(store, clock.now),
        store=store,
        clock=clock.now,
    )
    return Service(
        NAME,
        pb_grpc.add_CostLedgerServiceServicer_to_server,
        CostLedgerServicer(flows),
        checks=[store.ready],
    )


async def seed(store: LedgerStore, config: Config) -> None:
    """Bring in the catalogue's prices, and the prices, the tariff and the budgets of orchestra.yaml."""
    now = clock.now()
    rows = prices_of(merged(config).prices, config.electricity)
    budgets, prices = await store.seed(budgets_of(config, now), rows, now)
    log.info("seeded from the configuration", budgets_changed=budgets, prices_changed=prices)


async def run(
    settings: Settings,
    config: Config,
    *,
    on_bound: Callable[[str, int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until told to stop. Raises UnusableStore and PortInUse, each with one line for the user."""
    path = database_file(config.ledger.url, settings.state_dir)
    try:
        store = await SqliteStore.open(path)
    except (sqlite3.Error, OSError, NewerDatabase) as error:
        raise UnusableStore(f"the ledger's database {path} cannot be used: {error}") from error
    shutdown = Shutdown()
    shutdown.add("store", store.close)
    try:
        await seed(store, config)
        telemetry = Telemetry.start(
            "cost-ledger",
            otlp_endpoint=settings.otlp_endpoint,
            metrics_port=settings.metrics_port,
            metrics_host=settings.metrics_host,
        )
    except BaseException:
        await shutdown.close()
        raise
    shutdown.add("telemetry", telemetry.close, after=["store"])
    await serve(
        [service(store, config)],
        settings=settings.rpc(),
        telemetry=telemetry,
        shutdown=shutdown,
        on_bound=on_bound,
        stop=stop,
    )
