"""What the providers are like now, and their keys read again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches

import structlog

from orchestra.cloud.v1 import cloud_proxy_service_pb2 as pb
from orchestra_cloud_proxy.domain.breaker import BreakerState
from orchestra_cloud_proxy.domain.offerings import Offerings
from orchestra_cloud_proxy.flows.account import Account
from orchestra_errors import NotFound

log = structlog.get_logger()
_BREAKERS = {
    BreakerState.CLOSED: pb.BREAKER_STATE_CLOSED,
    BreakerState.OPEN: pb.BREAKER_STATE_OPEN,
    BreakerState.HALF_OPEN: pb.BREAKER_STATE_HALF_OPEN,
}


class ProvidersFlow:
    """`rotation`: how old a key may be."""

    def __init__(self, accounts: Mapping[str, Account], offerings: Offerings, rotation: timedelta) -> None:
        self._accounts = accounts
        self._offerings = offerings
        self.rotation = rotation

    def all(self) -> list[pb.Provider]:
        return [self._provider(account) for account in self._accounts.values()]

    async def reload(self, name: str = "") -> list[pb.Provider]:
        """Read the keys again, of one provider or of all; a changed key closes its provider's breakers.

        Raises NotFound.
        """
        if name and name not in self._accounts:
            raise NotFound("provider", name, get_close_matches(name, self._accounts))
        chosen = [self._accounts[name]] if name else list(self._accounts.values())
        for account in chosen:
            if await account.keys.reload():
                account.forgive()
        return [self._provider(account) for account in chosen]

    async def watch(self, every_s: float) -> None:
        """Run for ever: a rotated key is noticed without a restart."""
        while True:
            await asyncio.sleep(every_s)
            await self.reload()

    def _provider(self, account: Account) -> pb.Provider:
        offered = self._offerings.of(account.name)
        states = account.states(offered)
        requests_left, tokens_left = account.gate.left()
        state, reason = self._state(account, states)
        provider = pb.Provider(
            name=account.name,
            kind=account.kind,
            base_url=account.base_url,
            state=state,
            state_reason=reason,
            models=[
                pb.CloudModel(model=one.model, provider_model=one.provider_model, breaker=_BREAKERS[breaker])
                for one, breaker in zip(offered, states, strict=True)
            ],
        )
        for slot in account.keys.slots:
            status = provider.keys.add(
                source=slot.name, present=slot.key is not None, overdue=account.keys.overdue(slot)
            )
            if slot.since is not None:
                status.loaded_at.FromDatetime(slot.since)
        if account.rpm is not None:
            provider.limit.requests_per_minute = account.rpm
            provider.limit.requests_left = requests_left or 0
        if account.tpm is not None:
            provider.limit.tokens_per_minute = account.tpm
            provider.limit.tokens_left = tokens_left or 0
        return provider

    def _state(self, account: Account, states: list[BreakerState]) -> tuple[pb.ProviderState.ValueType, str]:
        if account.adapter is None:
            return (
                pb.PROVIDER_STATE_NOT_SERVING,
                f"not yet: this build does not speak to providers of kind {account.kind}",
            )
        if not account.keys.present():
            return pb.PROVIDER_STATE_NOT_SERVING, account.keys.why_absent()
        closed = [state is BreakerState.CLOSED for state in states]
        if states and not any(closed):
            return pb.PROVIDER_STATE_NOT_SERVING, "every model failed several times in a row"
        if not all(closed):
            return pb.PROVIDER_STATE_DEGRADED, "some models failed several times in a row"
        return pb.PROVIDER_STATE_SERVING, ""
