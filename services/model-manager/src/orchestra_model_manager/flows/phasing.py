"""Setting the phase, advancing its rotation, and what that wants now."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from orchestra_errors import FailedPrecondition
from orchestra_model_manager.domain.phases import (
    PhasePlan,
    RotationState,
    coming_in,
    due_at,
    models_at,
)
from orchestra_model_manager.domain.planning import Plan, plan
from orchestra_model_manager.flows.fleet import Fleet
from orchestra_model_manager.flows.keeping import Kept
from orchestra_model_manager.flows.registry import Registry
from orchestra_model_manager.ports import Clock, State

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PhaseNow:
    """`next_at` is epoch seconds; None without rotation."""

    plan: PhasePlan
    position: int
    wanted: tuple[str, ...]
    unplaced: dict[str, str]
    next_models: tuple[str, ...]
    next_at: float | None


class Phasing:
    def __init__(
        self, fleet: Fleet, kept: Kept, registry: Registry, clock: Clock, wall: Clock, seed: int
    ) -> None:
        self._fleet = fleet
        self._kept = kept
        self._registry = registry
        self._clock = clock
        self._wall = wall
        self._seed = seed

    def now(self) -> PhaseNow | None:
        """None before any phase has begun."""
        state = self._kept.now.rotation
        if state is None:
            return None
        phase = self._fleet.phase(state.phase)
        wanted = models_at(phase, state.position, state.seed)
        return PhaseNow(
            plan=phase,
            position=state.position,
            wanted=wanted,
            unplaced=dict(self.planned(wanted).impossible),
            next_models=coming_in(phase, state.position, state.seed),
            next_at=due_at(phase, state),
        )

    def planned(self, models: tuple[str, ...] | None = None) -> Plan:
        """Where those models would go beside the deployment's own placements; None: those of the phase."""
        if models is None:
            state = self._kept.now.rotation
            models = (
                models_at(self._fleet.phase(state.phase), state.position, state.seed)
                if state is not None
                else ()
            )
        return plan(
            [self._fleet.need(model) for model in models],
            self._fleet.wishes,
            self._registry.nodes.values(),
            self._fleet.sizes,
            self._kept.now.holds,
            self._fleet.config.services.model_manager.max_loaded,
            self._clock(),
            self._wall(),
            self._registry.measured,
        )

    async def set(self, name: str) -> PhaseNow:
        """Begin a phase, at the start of its rotation; setting the current one again changes nothing."""
        phase = self._fleet.phase(name)
        started = RotationState(phase.name, 0, self._seed, self._wall())

        def change(state: State) -> State:
            same = state.rotation is not None and state.rotation.phase == phase.name
            return state if same else replace(state, rotation=started)

        await self._kept.change(change)
        log.info("phase set", phase=phase.name)
        return self._certain()

    async def advance(self, request_id: str = "") -> PhaseNow:
        """Take the next step now; the interval begins anew. A repeat with the last step's id takes none.

        Raises FailedPrecondition when nothing rotates.
        """
        now = self.now()
        if now is None or not now.plan.pool:
            raise FailedPrecondition(
                "the rotation", "no phase with a rotation pool has begun: set one with SetPhase"
            )

        def step(state: State) -> State:
            rotation = state.rotation
            if rotation is None or (request_id and rotation.request_id == request_id):
                return state
            taken = replace(
                rotation, position=rotation.position + 1, since=self._wall(), request_id=request_id
            )
            return replace(state, rotation=taken)

        await self._kept.change(step)
        after = self._certain()
        log.info("rotation advanced", phase=after.plan.name, position=after.position)
        return after

    async def advance_if_due(self) -> None:
        """One step when its time has come; a manager that was down for long does not skip anybody's turn."""
        now = self.now()
        if now is not None and now.next_at is not None and now.next_at <= self._wall():
            await self.advance()

    def _certain(self) -> PhaseNow:
        now = self.now()
        assert now is not None
        return now
