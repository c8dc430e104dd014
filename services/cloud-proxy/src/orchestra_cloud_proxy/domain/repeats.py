"""Whether a failed try is made again at the same provider, and after how long."""

from __future__ import annotations

from orchestra_cloud_proxy.domain.faults import Judgement

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 8.0


def wait_before_repeat(
    judgement: Judgement,
    *,
    tries_made: int,
    tries_allowed: int,
    retry_after: float | None,
    seconds_left: float,
    jitter: float,
) -> float | None:
    """Seconds to wait before the next try; None: give up.

    The provider's `retry_after` is a floor, never shortened: when it does not fit into `seconds_left`, there
    is no next try. Without one the wait doubles from 0.25 s; `jitter` (0 to 1) takes off up to half of it.
    """
    if not judgement.repeatable or tries_made >= tries_allowed:
        return None
    backoff = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (tries_made - 1)) * (1 - jitter / 2)
    wait = backoff if retry_after is None else max(retry_after, 0.0)
    return wait if wait < seconds_left else None
