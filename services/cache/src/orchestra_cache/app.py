"""The composition root: constructs, wires, and says in which order all is closed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from orchestra.cache.v1 import cache_service_pb2_grpc as pb_grpc
from orchestra_cache.adapters.connecting import check_url, connect
from orchestra_cache.adapters.embedded_valkey import EmbeddedValkey
from orchestra_cache.adapters.hit_metrics import HitMetrics
from orchestra_cache.adapters.lookups import Lifetimes
from orchestra_cache.adapters.redis_broadcast import RedisBroadcast
from orchestra_cache.adapters.redis_store import RedisStore
from orchestra_cache.adapters.valkey_program import memory_of_machine
from orchestra_cache.config import Settings
from orchestra_cache.domain.counters import Counters
from orchestra_cache.flows.inventory import Inventory
from orchestra_cache.flows.keep import Keep
from orchestra_cache.flows.lookup import Lookup
from orchestra_cache.flows.single_flight import SingleFlight
from orchestra_cache.rpc.servicer import CacheServicer
from orchestra_config import CacheSettings
from orchestra_rpc import Background, Service, Shutdown, serve
from orchestra_telemetry import Telemetry

SERVICE = "orchestra.cache.v1.CacheService"
FOLLOWERS = 1024
log = structlog.get_logger()


async def run(
    settings: Settings, cache: CacheSettings, on_bound: Callable[[str, int], None] | None = None
) -> None:
    """Serve until told to stop. Raises UnusableStore, PortInUse, MetricsPortInUse."""
    check_url(cache.url)
    shutdown = Shutdown()
    try:
        servicer, store, telemetry = await assembled(settings, cache, shutdown)
    except BaseException:
        await shutdown.close()
        raise
    await serve(
        [Service(SERVICE, pb_grpc.add_CacheServiceServicer_to_server, servicer, checks=[store.answers])],
        settings=settings.rpc(),
        telemetry=telemetry,
        shutdown=shutdown,
        open_ended=[f"/{SERVICE}/Follow"],
        on_bound=on_bound,
    )


async def assembled(
    settings: Settings, cache: CacheSettings, shutdown: Shutdown
) -> tuple[CacheServicer, RedisStore, Telemetry]:
    url, kind = cache.url, "redis"
    if not url:
        valkey = EmbeddedValkey(settings.state_dir, _room(settings, cache))
        await valkey.start()
        shutdown.add("valkey", valkey.close, after=["redis", "followers"])
        url, kind = valkey.url, "embedded"
    redis = connect(url, settings.store_timeout_s)
    waiting = connect(url, settings.store_timeout_s, connections=FOLLOWERS)
    background = Background()
    shutdown.add("background", background.close)
    shutdown.add("redis", redis.aclose, after=["background"])
    shutdown.add("followers", waiting.aclose, after=["background"])
    telemetry = Telemetry.start(
        "cache",
        otlp_endpoint=settings.otlp_endpoint,
        metrics_port=settings.metrics_port,
        metrics_host=settings.metrics_host,
    )
    shutdown.add("telemetry", telemetry.close, after=["background"])
    lifetimes = Lifetimes(
        draws=_ms(cache.ttl_s),
        replays=_ms(cache.replay_ttl_s),
        running=_ms(min(settings.replay_running_s, cache.replay_ttl_s)),
        lease=_ms(settings.lease_s),
    )
    store = RedisStore(redis, lifetimes, kind)
    counters = Counters()
    HitMetrics(counters, telemetry.metrics.registry)
    servicer = CacheServicer(
        lookup=Lookup(store, counters, background),
        keep=Keep(store, counters),
        flight=SingleFlight(store, RedisBroadcast(redis, waiting, lifetimes.lease), lifetimes.lease),
        inventory=Inventory(store),
        counters=counters,
        since=datetime.now(UTC),
    )
    return servicer, store, telemetry


def _room(settings: Settings, cache: CacheSettings) -> int:
    """Bytes that the embedded store may take: a limit beyond the machine would end in the machine's own
    way."""
    most = int(memory_of_machine() * settings.store_share)
    if cache.max_bytes > most:
        log.info("the store takes less than configured", max_bytes=most, configured=cache.max_bytes)
    return min(cache.max_bytes, most)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
