"""Where the services listen and what each may be told. Every value has a safe default."""

from __future__ import annotations

from pydantic import Field

from .deployment import Address
from .frozen import Bytes, Frozen


class Addresses(Frozen):
    """Where callers reach each service; nodes carry their own."""

    router: Address = "127.0.0.1:50050"
    model_manager: Address = "127.0.0.1:50051"
    cache: Address = "127.0.0.1:50052"
    cost_ledger: Address = "127.0.0.1:50053"
    cloud_proxy: Address = "127.0.0.1:50054"


class CacheSettings(Frozen):
    """`url` redis://, rediss:// or unix://; absent: a private Valkey of `max_bytes` that the service starts.

    redis+cluster:// may be written, and the service refuses it at start for now.
    """

    url: str = Field(default="", pattern=r"^((redis|rediss|redis\+cluster|unix)://\S+)?$")
    ttl_s: float = Field(default=3_600.0, gt=0)
    max_bytes: Bytes = 100_000_000_000
    replay_ttl_s: float = Field(
        default=3_600.0, gt=0, description="how long a request id replays its samples"
    )


class LedgerSettings(Frozen):
    """`url` sqlite:///path; absent: SQLite in the service's state folder.

    postgresql:// may be written, and the service refuses it at start for now.
    """

    url: str = Field(default="", pattern=r"^((postgresql://|sqlite:///)\S+)?$")
    reservation_ttl_s: float = Field(default=900.0, gt=0)
    lease_ttl_s: float = Field(default=60.0, gt=0)


class RouterSettings(Frozen):
    """Attempts count over all targets of one request; `max_prompt` is bytes of one prompt, `spool_max`
    bytes of usage on disk that the ledger has not had yet."""

    max_attempts: int = Field(default=3, ge=1)
    max_prompt: Bytes = 8_000_000
    max_samples: int = Field(default=64, ge=1, description="largest n of one request")
    batch_size: int = Field(
        default=32, ge=1, description="the paper's batch; the last, partial one is sent too"
    )
    first_token_timeout_s: float = Field(
        default=60.0, gt=0, description="silence before the first token; a queue is not silence"
    )
    silence_timeout_s: float = Field(default=30.0, gt=0)
    spool_max: Bytes = 64_000_000


class ModelManagerSettings(Frozen):
    """`max_loaded` models at a time in the whole deployment; `min_residency_s` is not acted on yet."""

    max_loaded: int = Field(default=10, ge=1)
    node_lease_s: float = Field(default=15.0, gt=0)
    reconcile_s: float = Field(default=10.0, gt=0)
    min_residency_s: float = Field(
        default=600.0, ge=0, description="a model stays at least this long once loaded"
    )
    drain_s: float = Field(
        default=600.0, ge=0, description="longest wait for running requests before an unload"
    )


class InferenceNodeSettings(Frozen):
    """`queue_limit` requests wait per model; more are refused with a time to retry."""

    queue_limit: int = Field(default=256, ge=1)
    load_timeout_s: float = Field(default=600.0, gt=0)
    heartbeat_s: float = Field(default=5.0, gt=0)


class CloudProxySettings(Frozen):
    """Repeats of the same model at the same provider, within the attempts that the router grants."""

    attempts_per_provider: int = Field(default=2, ge=1)
    breaker_failures: int = Field(default=5, ge=1)
    breaker_open_s: float = Field(default=30.0, gt=0)
    spool_max: Bytes = 64_000_000


class Services(Frozen):
    """Settings of the services that have no section of their own."""

    router: RouterSettings = RouterSettings()
    model_manager: ModelManagerSettings = ModelManagerSettings()
    inference_node: InferenceNodeSettings = InferenceNodeSettings()
    cloud_proxy: CloudProxySettings = CloudProxySettings()
