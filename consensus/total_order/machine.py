"""The ordering machine of total order: routes each input to the part that knows about it, then settles what follows.

What follows is the same after every input: slots are decided, our own blocks created, and what is missing is asked for.
"""

from collections.abc import Iterable
from typing import assert_never

from consensus.effects import Effect, Halt, KeepAttachments, Refuse, ReleaseAttachments, SetTimer
from consensus.encoding import Signer, is_signed_by
from consensus.payload_requests import FETCHES_MAX, PayloadRequests
from consensus.protocol import (
    Assessed,
    AttachmentHeld,
    AttachmentsNeeded,
    Checked,
    ClockRead,
    FetchFailed,
    Input,
    LearnerAwaitsCommit,
    LearnerBehind,
    LearnerPartDue,
    Offered,
    PeerJoined,
    PeerLeft,
    PuzzleSolved,
    PuzzleVerified,
    Received,
    StateHeld,
    StateReached,
    Submitted,
    TimerFired,
)
from consensus.seeded_choice import SeededChoice
from consensus.total_order.block import Attestations, Checkpoint, Equivocators, genesis_references
from consensus.total_order.commit_rule import CommitRule
from consensus.total_order.commit_sync import CommitSync
from consensus.total_order.committee import Committee, CommitteeError, TotalOrderRules
from consensus.total_order.committer import Committer
from consensus.total_order.context import State, Verifier
from consensus.total_order.dag import Dag, Vertex
from consensus.total_order.linearizer import Linearizer
from consensus.total_order.member import AmnesiaRecovery, Member
from consensus.total_order.message_router import MessageRouter, Responses
from consensus.total_order.peers import Peers
from consensus.total_order.proposer import Proposer
from consensus.total_order.records import TotalOrderArchive
from consensus.total_order.relay import Relay
from consensus.total_order.restore import Restoring
from consensus.total_order.state_sync import SNAPSHOT_BEHIND, StateSync
from consensus.total_order.status import TotalOrderStatus, status_of
from consensus.total_order.synchroniser import FETCH_TIMER, Synchroniser
from consensus.total_order.validation import Validation
from consensus.types import Instant, NetworkId, PeerId, StepId

__all__ = [
    "CommitteeError",
    "TotalOrder",
    "TotalOrderArchive",
    "TotalOrderRules",
    "TotalOrderStatus",
]

PACE_TIMER = "pace"

SYNC_TIMER = "sync"

SYNC_MS = 250
"""How often everything that is still missing is looked at again."""

RESEND_MS = 2_500
"""When no round has been entered for so long, our newest block is sent again: it may have been lost with a connection."""

Effects = tuple[Effect, ...]


class TotalOrder:
    """An OrderingProtocol. `seed` (up to 64 bytes) draws whom to ask; an identity that is no member is an observer.

    `records`: rows (table, key, value) of earlier incarnations sorted by (table, key); `archive` reads the same rows by key.
    `guard_round`: the highest round ever signed for, or 0. `replay_from`: a commit whose state the learner holds.
    `snapshot_behind`: commits behind an agreed checkpoint from which on its state is fetched. Raises CommitteeError,
    CorruptRecordsError.
    """

    def __init__(
        self,
        *,
        rules: TotalOrderRules,
        network_id: NetworkId,
        members: tuple[PeerId, ...],
        identity: PeerId,
        sign: Signer,
        seed: bytes,
        archive: TotalOrderArchive,
        records: Iterable[tuple[str, bytes, bytes]] = (),
        guard_round: int = 0,
        replay_from: StepId | None = None,
        verify: Verifier = is_signed_by,
        snapshot_behind: int = SNAPSHOT_BEHIND,
        fetches_max: int = FETCHES_MAX,
    ) -> None:
        committee = Committee(members)
        peers = Peers(committee)
        dag, choice = Dag(committee), SeededChoice(seed)
        self._state = State(
            network_id=network_id,
            rules=rules,
            committee=committee,
            genesis=genesis_references(network_id, committee),
            me=committee.index_of(identity),
            dag=dag,
            rule=CommitRule(committee, dag),
            order=Linearizer(network_id, rules.gc_depth),
            equivocators=Equivocators(),
            peers=peers,
            wanted=PayloadRequests(peers, fetches_max),
            archive=archive,
            verify=verify,
        )
        state = self._state
        self._attestations = Attestations(committee)
        self._synchroniser = Synchroniser(state, choice)
        self._member = None if state.me is None else _member(state, state.me, sign, guard_round)
        self._validation = Validation(state, self._synchroniser, self._attestations, self._member)
        proposer = None if self._member is None else self._member.proposer
        self._committer = Committer(state, self._validation, self._attestations, proposer)
        self._commit_sync = CommitSync(state, choice, self._synchroniser, self._attestations, self._committer)
        behind_min = max(snapshot_behind, rules.gc_depth + 1)
        self._state_sync = StateSync(state, choice, self._synchroniser, self._attestations, self._committer, behind_min)
        self._router = MessageRouter(
            state,
            self._validation,
            self._synchroniser,
            self._commit_sync,
            self._state_sync,
            Responses(state),
            self._member,
        )
        self._pace_at: Instant | None = None
        self._resent_at = Instant(0)
        self._is_halted = False
        self._restoring = Restoring(state, replay_from)
        self._restore(records)

    @property
    def status(self) -> TotalOrderStatus:
        """What people may want to know now."""
        return status_of(self._state, self._member, self._synchroniser, self._commit_sync)

    def start(self, now: Instant) -> Effects:
        """Deliver again what the learner has lost, and begin. Raises CorruptRecordsError."""
        effects = self._state.effects
        if self._state.dag.highest_round > 0:
            self._state.peers.on_restart(now)
        if named := self._state.dag.named_payloads():
            effects.add(KeepAttachments(named))
        for delivery in self._restoring.replays():
            effects.add(delivery)
        if self._member is not None:
            self._member.recovery.start(now)
        self._resent_at = now
        effects.add(SetTimer(SYNC_TIMER, Instant(now + SYNC_MS)))
        self._settle(now)
        return self._effects()

    def handle(self, event: Input, now: Instant) -> Effects:
        """What should be done about `event`. Nothing after a Halt."""
        if self._is_halted:
            return ()
        if isinstance(event, ClockRead):  # before the start, too: nothing follows until something else happens
            self._state.wall.set_offset(event.offset_ms)
            self._state.peer_clocks.forget_all()
            return ()
        self._respond(event, now)
        self._settle(now)
        return self._effects()

    # --- inputs ---

    def _respond(self, event: Input, now: Instant) -> None:
        match event:
            case Received(peer, message):
                self._router.receive(peer, message, now)
            case TimerFired(name):
                self._tick(name, now)
            case PeerJoined(peer):
                self._router.join(peer, now)
            case PeerLeft(peer):
                self._router.leave(peer)
            case Submitted():
                if self._member is not None:
                    self._member.proposer.submit(event)
            case AttachmentHeld(digest):
                self._validation.on_attachment_held(digest)
            case FetchFailed(digest, peer):
                self._state.wanted.on_failure(digest, peer, now)
                self._state_sync.on_state_failure(digest, now)
            case AttachmentsNeeded(attachments, height):
                self._state.wanted.learner_needs(attachments)
                self._state_sync.learner_waits_at = height if attachments else None
            case LearnerBehind(steps):
                if self._member is not None:
                    self._member.proposer.pacemaker.learner_behind = steps
            case LearnerAwaitsCommit(is_awaited):
                if self._member is not None:
                    self._member.proposer.pacemaker.is_commit_awaited = is_awaited
            case LearnerPartDue(is_due):
                if self._member is not None:
                    self._member.proposer.pacemaker.is_part_due = is_due
            case StateReached(height, state_digest):
                self._note_state(height, state_digest)
            case StateHeld(step, content):
                self._state_sync.on_state(step, content, now)
            case ClockRead():
                raise AssertionError("is handled before all else")
            case Offered() | Assessed() | Checked() | PuzzleSolved() | PuzzleVerified():
                raise AssertionError(f"total order never asks for {type(event).__name__}")
            case _:
                assert_never(event)

    def _note_state(self, height: int, state_digest: bytes) -> None:
        digest = self._state.order.digest_at(height)
        if digest is not None and self._member is not None:
            self._member.proposer.checkpoint = Checkpoint(height, digest, state_digest)

    # --- time ---

    def _tick(self, name: str, now: Instant) -> None:
        if name == PACE_TIMER:
            self._pace_at = None
        elif name == FETCH_TIMER:
            self._synchroniser.fire(now)
        else:
            assert name == SYNC_TIMER, f"no timer is called {name}"
            self._state.effects.add(SetTimer(SYNC_TIMER, Instant(now + SYNC_MS)))
            self._validation.tick()
            self._synchroniser.tick(now)
            self._state_sync.tick(now)
            if not self._state_sync.is_joining:
                self._commit_sync.tick(now)
            self._router.ask_again(now)
            self._resend(now)

    def _resend(self, now: Instant) -> None:
        if self._member is None or self._member.proposer.last_block is None:
            return
        if now >= max(self._resent_at, self._member.proposer.created_at) + RESEND_MS:
            self._resent_at = now
            self._member.proposer.resend()

    # --- what follows ---

    def _settle(self, now: Instant) -> None:
        while True:
            has_moved = self._committer.settle()
            has_moved |= self._commit_sync.advance(now)
            has_moved |= self._create(now)
            if not has_moved:
                break
        self._synchroniser.settle(now)
        self._release_payloads()
        for fetch in self._state.wanted.fetch_more(now):
            self._state.effects.add(fetch)
        self._set_pace()

    def _release_payloads(self) -> None:
        """Tell which large payloads nothing needs any more that may still be ordered."""
        unnamed = self._state.dag.take_unnamed()
        dropped = [] if self._member is None else self._member.proposer.take_dropped()
        for digest, _ in unnamed:
            self._state.wanted.drop(digest)
        if not (unnamed or dropped):
            return
        carried = set() if self._member is None else self._member.proposer.carried_payloads()
        for were_accepted in (True, False):
            digests = [digest for digest, was_accepted in unnamed if was_accepted is were_accepted]
            digests += [] if were_accepted else [digest for digest in dropped if not self._state.dag.is_named(digest)]
            digests = [digest for digest in digests if digest not in carried]
            if digests:
                self._state.effects.add(ReleaseAttachments(tuple(digests), were_accepted))

    def _create(self, now: Instant) -> bool:
        """Create every block that is due, those of skipped rounds at once; whether there was any."""
        member = self._member
        if member is None or not member.recovery.is_done:
            return False
        has_created = False
        while (created := member.proposer.create_due(now)) is not None:
            self._validation.keep(created.digest, created.block, None, now)
            member.proposer.send_created(created, now)
            has_created = True
        if has_created:
            member.relay.push()
        return has_created

    def _set_pace(self) -> None:
        due_at = None if self._member is None else self._member.proposer.due_at
        if due_at is not None and due_at != self._pace_at:
            self._pace_at = due_at
            self._state.effects.add(SetTimer(PACE_TIMER, due_at))

    def _effects(self) -> Effects:
        effects = self._state.effects.take()
        for index, effect in enumerate(effects):
            if isinstance(effect, Refuse):
                self._router.leave(effect.peer)
            if isinstance(effect, Halt):
                self._is_halted = True
                return effects[: index + 1]
        return effects

    def _restore(self, records: Iterable[tuple[str, bytes, bytes]]) -> None:
        state, member = self._state, self._member
        for vertex in self._restoring.read(records):
            self._on_restored(vertex)
        if member is not None and state.me in state.newest_seen:
            member.proposer.note_signed(state.newest_seen[state.me].content.round)
        self._attestations.on_commit(state.order.index)

    def _on_restored(self, vertex: Vertex) -> None:
        self._attestations.note(vertex.block)
        if self._member is not None:
            self._member.on_accepted(vertex)
            if vertex.author == self._state.me and not self._state.order.is_ordered(vertex):
                self._member.proposer.on_restored(vertex)


def _member(state: State, me: int, sign: Signer, guard_round: int) -> Member:
    return Member(Proposer(state, me, sign, guard_round), Relay(state, me), AmnesiaRecovery(state, me))
