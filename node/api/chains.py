"""The chain of steps as people see it: one source for each kind of consensus, one form for all."""

from dataclasses import asdict, dataclass
from typing import Protocol

from consensus.proof_of_work.block_checks import ChainStep
from consensus.proof_of_work.machine import ProofOfWork
from consensus.total_order.machine import TotalOrder, TotalOrderStatus
from learning.exact import MICRO
from learning.learner import GenerationDecided, GenerationWaits, SlateEntry
from node.api.status import (
    GenerationStatus,
    MemberStatus,
    OrderStatus,
    PuzzleStatus,
    SlateEntryStatus,
    StepStatus,
)
from node.api.telemetry import Vitals


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What a status document says of the chain."""

    final_height: int
    blocks_led: int
    """Steps of the chain that this peer led, or whose candidate was its own."""
    blocks_contested: int
    steps: tuple[StepStatus, ...]
    """Oldest first."""
    peers_ahead_ms: int | None = None
    """By how much the block times of most connected peers are ahead of our wall clock."""
    puzzle: PuzzleStatus | None = None
    order: OrderStatus | None = None
    generation: GenerationStatus | None = None
    final_steps: tuple[StepStatus, ...] = ()
    """The newest final ones, oldest first, where `steps` may not reach as deep."""
    finality_depth: int = 0
    """0: every step is final at once."""
    behind_by: int = 0
    """Blocks, or commits, that others are known to have beyond ours."""


STALLED_SECONDS = 1.5
"""Rounds take a tenth of this; whoever is waited for in between is no news."""


class ChainSource(Protocol):
    """Reads the facts off a running machine."""

    def watch(self, now_s: float) -> None:
        """Called twice a second, by a clock that never goes back: to tell what stands still."""
        ...

    def facts(self, vitals: Vitals) -> ChainFacts:
        """The facts of now."""
        ...


class ProofOfWorkChain:
    """Steps are blocks; the newest may still be undone."""

    def __init__(self, machine: ProofOfWork, puzzle_share: float, finality_depth: int) -> None:
        self._machine = machine
        self._puzzle_share = puzzle_share
        self._finality_depth = finality_depth

    def watch(self, now_s: float) -> None:
        """Blocks come by chance: nothing to tell."""

    def facts(self, vitals: Vitals) -> ChainFacts:
        """The facts of now."""
        status = self._machine.status
        return ChainFacts(
            status.final_height,
            status.blocks_led,
            status.blocks_contested,
            tuple(_block_status(step, vitals) for step in status.steps),
            peers_ahead_ms=status.peers_ahead_ms,
            puzzle=PuzzleStatus(status.attempts_expected, self._puzzle_share),
            final_steps=tuple(_block_status(step, vitals) for step in status.final_steps),
            finality_depth=self._finality_depth,
            behind_by=max(0, status.sync_target - status.height),
        )


class TotalOrderChain:
    """Steps are generations, each final at once."""

    def __init__(self, machine: TotalOrder) -> None:
        self._machine = machine
        self._round = -1
        self._moved_at = self._now_s = 0.0

    def watch(self, now_s: float) -> None:
        """Note whether rounds go on."""
        self._now_s = now_s
        if self._machine.status.round != self._round:
            self._round, self._moved_at = self._machine.status.round, now_s

    def facts(self, vitals: Vitals) -> ChainFacts:
        """The facts of now."""
        is_stalled = self._now_s - self._moved_at > STALLED_SECONDS
        steps = tuple(
            StepStatus(
                height=step.height,
                id=step.step.hex(),
                state_digest=step.state_digest.hex(),
                fitness=step.fitness,
                metrics=dict(step.metrics),
            )
            for step in sorted(vitals.adopted.values(), key=lambda step: step.height)
        )
        return ChainFacts(
            final_height=steps[-1].height if steps else 0,
            blocks_led=vitals.generations_shared,
            blocks_contested=0,
            steps=steps,
            peers_ahead_ms=self._machine.status.peers_ahead_ms,
            order=_order_status(self._machine.status, is_stalled),
            generation=_generation_status(vitals.waits, vitals.decided),
            behind_by=self._machine.status.behind_by,
        )


def _block_status(step: ChainStep, vitals: Vitals) -> StepStatus:
    adopted = vitals.adopted.get(step.id)
    return StepStatus(
        height=step.height,
        id=step.id.hex(),
        state_digest=step.state_digest.hex(),
        leader=step.leader.hex(),
        fitness=None if adopted is None else adopted.fitness,
        metrics={} if adopted is None else dict(adopted.metrics),
    )


def _order_status(status: TotalOrderStatus, is_stalled: bool) -> OrderStatus:
    counters = status.counters
    return OrderStatus(
        round=status.round,
        own_round=status.own_round,
        commits=status.commits,
        slots_skipped=status.skipped_slots,
        timeout_ms=status.timeout_ms,
        waiting_for=tuple(peer.hex() for peer in status.waiting_for) if is_stalled else (),
        members=tuple(
            MemberStatus(member.peer.hex(), member.last_round, member.is_connected, member.silent_rounds)
            for member in status.members
        ),
        equivocators=tuple(peer.hex() for peer in status.equivocators),
        counters=dict(sorted(asdict(counters).items())),
        learner_behind=status.learner_behind,
        quorum=status.quorum,
    )


def _generation_status(waits: GenerationWaits | None, decided: GenerationDecided | None) -> GenerationStatus | None:
    if waits is None:
        return None
    counted = tuple(member.hex() for member in waits.counted)
    if decided is None:
        return GenerationStatus(waits.height, waits.phase.value, counted, waits.needed)
    return GenerationStatus(
        height=waits.height,
        phase=waits.phase.value,
        counted=counted,
        needed=waits.needed,
        slate=tuple(_entry_status(entry) for entry in decided.slate),
        winner=decided.winner,
        scorers=tuple(member.hex() for member in decided.scorers),
        ignored=dict(decided.ignored),
    )


def _entry_status(entry: SlateEntry) -> SlateEntryStatus:
    return SlateEntryStatus(
        author=None if entry.author is None else entry.author.hex(),
        claimed=_in_units(entry.claimed_fitness),
        agreed=entry.agreed_fitness / MICRO,
        measured=_in_units(entry.measured_fitness),
        label=entry.label,
    )


def _in_units(fitness: int | None) -> float | None:
    return None if fitness is None else fitness / MICRO
