"""A client for a store's URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as StoreGone
from redis.exceptions import TimeoutError as StoreSlow

from orchestra_cache.config import UnusableStore

CONNECTIONS = 32


def connect(url: str, timeout_s: float, connections: int = CONNECTIONS) -> Redis:
    """A client that repeats a command once or twice when its connection breaks. Raises UnusableStore for a
    URL that it cannot use; whether a server is there shows with the first command."""
    try:
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # a store that starts again is met within a tenth of a second
            retry=Retry(ExponentialBackoff(cap=0.05, base=0.01), 2, supported_errors=(StoreGone, StoreSlow)),
            health_check_interval=15,
        )
    except ValueError as error:
        raise UnusableStore(f"cache.url: {error}") from error
    return Redis.from_pool(pool)


def check_url(url: str) -> None:
    """Raises UnusableStore for what this build cannot use yet."""
    if urlsplit(url).scheme == "redis+cluster":
        raise UnusableStore(
            "cache.url names a Redis Cluster, which this build cannot use yet: name one server with redis://,"
            " or leave it out for the embedded store"
        )
