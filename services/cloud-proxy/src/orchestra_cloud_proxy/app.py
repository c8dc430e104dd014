"""The composition root: constructs, wires, and says in which order things end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module

import structlog

from orchestra.cloud.v1.cloud_proxy_service_pb2_grpc import add_CloudProxyServiceServicer_to_server
from orchestra.ledger.v1.cost_ledger_service_pb2_grpc import CostLedgerServiceStub
from orchestra_accounting import LedgerShipper, PriceFeed, Spool
from orchestra_cloud_proxy.adapters.catalogue_offerings import offerings_of
from orchestra_cloud_proxy.config import Settings
from orchestra_cloud_proxy.domain.breaker import Breaker
from orchestra_cloud_proxy.flows.account import Account
from orchestra_cloud_proxy.flows.batch import BatchFlow
from orchestra_cloud_proxy.flows.books import Books
from orchestra_cloud_proxy.flows.embed import EmbedFlow
from orchestra_cloud_proxy.flows.gate import Gate
from orchestra_cloud_proxy.flows.generate import GenerateFlow
from orchestra_cloud_proxy.flows.keyring import Keyring
from orchestra_cloud_proxy.flows.providers import ProvidersFlow
from orchestra_cloud_proxy.flows.sample import SampleFlow
from orchestra_cloud_proxy.ports import Provider
from orchestra_cloud_proxy.rpc.servicer import CloudProxyServicer
from orchestra_config import Config
from orchestra_config import Provider as ProviderEntry
from orchestra_rpc import Background, Service, Shutdown, open_channel, serve
from orchestra_secrets import ChainSecretSource, EnvSecretSource, FileSecretSource, SecretSource
from orchestra_telemetry import Telemetry

SERVICE = "orchestra.cloud.v1.CloudProxyService"
ADAPTERS = {"openai": "orchestra_cloud_proxy.adapters.openai_provider:OpenAIProvider"}
"""By kind; imported when a provider of that kind is configured, since an SDK costs memory and a second."""
_LEDGER = "/orchestra.ledger.v1.CostLedgerService/"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is put together; its neighbours are being watched."""

    servicer: CloudProxyServicer
    accounts: Mapping[str, Account]
    prices: PriceFeed
    shutdown: Shutdown

    @property
    def service(self) -> Service:
        """Healthy as long as it answers: which provider works is told by ListProviders."""
        return Service(SERVICE, add_CloudProxyServiceServicer_to_server, self.servicer)


async def build(config: Config, settings: Settings, telemetry: Telemetry) -> Proxy:
    """Construct and wire everything, read the keys, start to watch. Raises what the spool raises."""
    shutdown = Shutdown()
    ledger_channel = open_channel(
        config.addresses.cost_ledger,
        telemetry=telemetry,
        idempotent=[_LEDGER + name for name in ("ListPrices", "RecordUsage", "Settle")],
    )
    stub = CostLedgerServiceStub(ledger_channel)
    spool = await Spool.open(settings.state_dir / "spool", max_bytes=config.services.cloud_proxy.spool_max)
    shipper = LedgerShipper(stub, spool)
    shipper.start()
    prices = PriceFeed(stub, settings.price_refresh_s)
    source = ChainSecretSource(EnvSecretSource(), FileSecretSource(settings.secrets_dir))
    accounts = {entry.name: await _account(entry, config, source) for entry in config.providers}
    offerings = offerings_of(config)
    rotation = timedelta(days=min((one.key_rotation_days for one in config.providers), default=30))
    providers = ProvidersFlow(accounts, offerings, rotation)
    await providers.reload()
    for provider in providers.all():
        if provider.state_reason:
            log.warning("provider does not serve", provider=provider.name, because=provider.state_reason)
    watching = Background()
    if accounts:
        watching.spawn(prices.watch(), name="prices")
        watching.spawn(providers.watch(settings.key_check_s), name="keys")

    books = Books(spool, prices)
    sample = SampleFlow(
        books,
        time.monotonic,
        attempts_per_provider=config.services.cloud_proxy.attempts_per_provider,
        heartbeat_s=settings.heartbeat_s,
        idle_s=settings.idle_s,
    )
    generate = GenerateFlow(accounts, sample)
    servicer = CloudProxyServicer(
        offerings=offerings,
        generate=generate,
        batch=BatchFlow(generate),
        embed=EmbedFlow(accounts, books, time.monotonic),
        providers=providers,
    )

    async def close_providers() -> None:
        adapters = [account.adapter for account in accounts.values() if account.adapter is not None]
        await asyncio.gather(*(adapter.close() for adapter in adapters))

    async def ship_the_rest() -> None:
        await shipper.flush(timeout=3.0)
        await shipper.close()
        await spool.close()

    shutdown.add("watching", watching.close)
    shutdown.add("providers", close_providers)
    shutdown.add("spool", ship_the_rest, after=["providers"])
    shutdown.add("channel", ledger_channel.close, after=["watching", "spool"])
    return Proxy(servicer, accounts, prices, shutdown)


async def _account(entry: ProviderEntry, config: Config, source: SecretSource) -> Account:
    limits, ours = entry.limits, config.services.cloud_proxy
    clock = time.monotonic
    keys = Keyring(entry.name, entry.secrets, source, timedelta(days=entry.key_rotation_days))
    most = entry.max_concurrency
    return Account(
        name=entry.name,
        kind=entry.kind,
        base_url=entry.base_url,
        rpm=limits.rpm,
        tpm=limits.tpm,
        timeout_s=entry.timeout_s,
        adapter=await _adapter(entry),
        keys=keys,
        gate=Gate(entry.name, keys, clock, rpm=limits.rpm, tpm=limits.tpm, most=most),
        fresh_breaker=Breaker(ours.breaker_failures, ours.breaker_open_s),
        clock=clock,
    )


async def _adapter(entry: ProviderEntry) -> Provider | None:
    where = ADAPTERS.get(entry.kind)
    if where is None:
        return None
    module, _, name = where.partition(":")
    # in a thread: the import takes a second, in which health must be answered
    loaded = await asyncio.to_thread(import_module, module)
    provider: Provider = getattr(loaded, name)(entry.base_url, connections=entry.max_concurrency)
    return provider


async def run(settings: Settings, config: Config, on_bound: Callable[[str, int], None] | None = None) -> None:
    """Serve until told to stop, drain, deliver what is left. Raises PortInUse, MetricsPortInUse,
    JournalLocked, OSError."""
    telemetry = Telemetry.start(
        "cloud-proxy",
        otlp_endpoint=settings.otlp_endpoint,
        metrics_port=settings.metrics_port,
        metrics_host=settings.metrics_host,
    )
    proxy = await build(config, settings, telemetry)
    proxy.shutdown.add("telemetry", telemetry.close, after=["channel"])
    await serve(
        [proxy.service],
        settings=settings.rpc(),
        telemetry=telemetry,
        shutdown=proxy.shutdown,
        on_bound=on_bound,
    )
