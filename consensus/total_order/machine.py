"""The ordering machine of total order: routes each input to the part that knows about it, then settles what follows.

What follows is the same after every input: slots are decided, our own blocks created, and what is missing is asked for.
"""

from collections.abc import Iterable
from typing import assert_never

from consensus.encoding import MalformedBytesError, encode
from consensus.faults import Offence
from consensus.protocol import (
    Assessed,
    Checked,
    Effect,
    Halt,
    Input,
    Offered,
    PayloadHeld,
    PeerJoined,
    PeerLeft,
    PuzzleSolved,
    PuzzleVerified,
    Received,
    Refuse,
    Send,
    SetTimer,
    StateHeld,
    StateReached,
    Submitted,
    TimerFired,
)
from consensus.signing import Signer, is_signed_by
from consensus.total_order.archive import CorruptRecordsError, TotalOrderArchive
from consensus.total_order.block import BLOCK_BYTES_MAX, Block, Checkpoint, genesis_references, genesis_step
from consensus.total_order.catch_up import CatchUp
from consensus.total_order.commit_rule import CommitRule
from consensus.total_order.committee import Committee, CommitteeError
from consensus.total_order.committing import Committing
from consensus.total_order.dag import Dag, Vertex
from consensus.total_order.dice import Dice
from consensus.total_order.equivocation import Equivocators
from consensus.total_order.intake import Fate, Intake
from consensus.total_order.messages import (
    MESSAGE_BYTES_MAX,
    MESSAGE_CODEC,
    STREAM_BLOCKS_MAX,
    AskOwn,
    BlockMessage,
    Blocks,
    Commits,
    GetBlocks,
    GetCommits,
    Message,
    OwnBlocks,
    OwnNewest,
    Subscribe,
)
from consensus.total_order.order import Order
from consensus.total_order.peers import PeerRecord, Peers, Spending
from consensus.total_order.proposer import Proposer
from consensus.total_order.pushing import Pushing
from consensus.total_order.recovery import Recovery, answer_own
from consensus.total_order.restore import Restoring
from consensus.total_order.rules import RulesError, TotalOrderRules
from consensus.total_order.serving import Serving
from consensus.total_order.snapshot import SNAPSHOT_BEHIND, Snapshot
from consensus.total_order.state import State, Verifier
from consensus.total_order.status import TotalOrderStatus
from consensus.total_order.synchroniser import FETCH_TIMER, Synchroniser
from consensus.total_order.telling import status_of
from consensus.total_order.vouching import Vouching
from consensus.types import Instant, NetworkId, PeerId, StepId

__all__ = [
    "CommitteeError",
    "CorruptRecordsError",
    "RulesError",
    "TotalOrder",
    "TotalOrderArchive",
    "TotalOrderRules",
    "TotalOrderStatus",
    "genesis_step",
]

PACE_TIMER = "pace"

SYNC_TIMER = "sync"

SYNC_MS = 250
"""How often everything that is still missing is looked at again."""

STREAM_MS = 2_000
"""So long after asking for a member's own blocks they may be asked for again."""

RESEND_MS = 2_500
"""When no round has been entered for so long, our newest block is sent again: it may have been lost with a connection."""

MESSAGE_OVERHEAD_MAX = 16
"""Tag, list and length bytes around a block."""

Effects = tuple[Effect, ...]


class TotalOrder:
    """An OrderingProtocol. `seed` (up to 64 bytes) draws whom to ask; an identity that is no member is an observer.

    `records`: rows (table, key, value) of earlier lives sorted by (table, key); `archive` reads the same rows by key.
    `guard_round`: what the guard file holds, 0 when there is none. `replay_from`: a commit whose state the learner holds.
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
    ) -> None:
        committee = Committee(members)
        dag, dice = Dag(committee), Dice(seed)
        self._state = State(
            network_id=network_id,
            rules=rules,
            committee=committee,
            genesis=genesis_references(network_id, committee),
            me=committee.index_of(identity),
            dag=dag,
            rule=CommitRule(committee, dag),
            order=Order(network_id, rules.gc_depth),
            equivocators=Equivocators(),
            peers=Peers(committee),
            archive=archive,
            verify=verify,
        )
        state = self._state
        self._vouching = Vouching(committee)
        self._synchroniser = Synchroniser(state, dice)
        self._intake = Intake(state, self._synchroniser, self._vouching.note)
        self._committing = Committing(state, self._intake)
        self._catch_up = CatchUp(state, dice, self._synchroniser, self._vouching, self._committing)
        behind_min = max(snapshot_behind, rules.gc_depth + 1)
        self._snapshot = Snapshot(state, dice, self._vouching, self._committing, behind_min)
        self._serving = Serving(state)
        self._proposer = None if state.me is None else Proposer(state, self._intake, state.me, sign, guard_round)
        self._pushing = None if state.me is None else Pushing(state, state.me)
        self._recovery = None if state.me is None else Recovery(state, self._intake, state.me)
        self._intake.accepted = self._accepted
        self._committing.ordered = self._ordered
        self._committing.forgotten = self._forgotten
        self._committing.committed = self._committed
        self._pace_at: Instant | None = None
        self._resent_at = Instant(0)
        self._is_halted = False
        self._restoring = Restoring(state, replay_from)
        for vertex in self._restoring.read(records):
            self._restored(vertex)
        self._vouching.reached(state.order.index)

    @property
    def status(self) -> TotalOrderStatus:
        """What people may want to know now."""
        return status_of(self._state, self._proposer, self._recovery, self._synchroniser, self._catch_up)

    def start(self, now: Instant) -> Effects:
        """Deliver again what the learner has lost, and begin. Raises CorruptRecordsError."""
        outbox = self._state.outbox
        for delivery in self._restoring.replays():
            outbox.add(delivery)
        if self._recovery is not None:
            self._recovery.start(now)
        self._resent_at = now
        outbox.add(SetTimer(SYNC_TIMER, Instant(now + SYNC_MS)))
        self._settle(now)
        return self._effects()

    def handle(self, event: Input, now: Instant) -> Effects:
        """What should be done about `event`. Nothing after a Halt."""
        if self._is_halted:
            return ()
        self._respond(event, now)
        self._settle(now)
        return self._effects()

    # --- inputs ---

    def _respond(self, event: Input, now: Instant) -> None:
        match event:
            case Received(peer, message):
                self._receive(peer, message, now)
            case TimerFired(name):
                self._tick(name, now)
            case PeerJoined(peer):
                self._join(peer, now)
            case PeerLeft(peer):
                self._leave(peer)
            case Submitted():
                if self._proposer is not None:
                    self._proposer.submit(event)
            case PayloadHeld(digest):
                self._intake.payload_held(digest)
            case StateReached(height, state_digest):
                self._note_state(height, state_digest)
            case StateHeld(step):
                self._snapshot.state_held(step)
            case Offered() | Assessed() | Checked() | PuzzleSolved() | PuzzleVerified():
                raise AssertionError(f"total order never asks for {type(event).__name__}")
            case _:
                assert_never(event)

    def _join(self, peer: PeerId, now: Instant) -> None:
        record = self._state.peers.join(peer, now)
        if record.member is not None:
            self._subscribe(peer, record, now)
        if self._recovery is not None:
            self._recovery.ask(peer, record, now)
        if self._proposer is not None and self._proposer.last_block is not None:
            self._state.outbox.add(Send(peer, encode(BlockMessage(self._proposer.last_block))))

    def _leave(self, peer: PeerId) -> None:
        self._state.peers.leave(peer)
        self._synchroniser.left(peer)
        self._catch_up.left(peer)
        self._snapshot.left(peer)
        if self._recovery is not None:
            self._recovery.left(peer)

    def _note_state(self, height: int, state_digest: bytes) -> None:
        digest = self._state.order.digest_at(height)
        if digest is not None and self._proposer is not None:
            self._proposer.checkpoint = Checkpoint(height, digest, state_digest)

    def _receive(self, peer: PeerId, data: bytes, now: Instant) -> None:
        record = self._state.peers.get(peer)
        if record is None:  # refused a moment ago
            return
        if len(data) > MESSAGE_BYTES_MAX:
            self._refuse(peer, Offence.OVERSIZED, f"message of {len(data)} bytes, allowed: {MESSAGE_BYTES_MAX}")
            return
        try:
            message = MESSAGE_CODEC.decode(data)
        except MalformedBytesError as error:
            self._refuse(peer, Offence.MALFORMED, str(error))
            return
        self._take(peer, record, message, len(data), now)

    def _take(self, peer: PeerId, record: PeerRecord, message: Message, size: int, now: Instant) -> None:
        match message:
            case BlockMessage(block):
                if size > BLOCK_BYTES_MAX + MESSAGE_OVERHEAD_MAX:
                    self._refuse(peer, Offence.OVERSIZED, f"block of {size} bytes, allowed: {BLOCK_BYTES_MAX}")
                else:
                    self._intake.take(peer, block, now)
            case OwnBlocks(blocks):
                self._take_stream(peer, record, blocks, now)
            case Blocks():
                for _, block in self._synchroniser.answered(peer, record, message):
                    self._state.counters.blocks_fetched += self._intake.take(peer, block, now) is Fate.KEPT
            case OwnNewest():
                self._take_own(peer, record, message, now)
            case Commits():
                self._take_commits(peer, record, message, now)
            case Subscribe() | GetBlocks() | GetCommits() | AskOwn():
                self._serve(peer, record, message, now)
            case _:
                assert_never(message)

    def _serve(
        self, peer: PeerId, record: PeerRecord, request: Subscribe | GetBlocks | GetCommits | AskOwn, now: Instant
    ) -> None:
        spending = record.requests.spend(now)
        if spending is Spending.FLOODING:
            self._refuse(peer, Offence.FLOODING, "requests")
        if spending is not Spending.COVERED:
            return
        match request:
            case Subscribe(from_round, wants_all):
                record.wants_all = wants_all
                self._serving.own_blocks(peer, from_round)
            case GetBlocks():
                self._serving.blocks(peer, request)
            case GetCommits():
                self._serving.commits(peer, request)
            case AskOwn():
                answer_own(self._state, peer, record, request)
            case _:
                assert_never(request)

    # --- answers ---

    def _subscribe(self, peer: PeerId, record: PeerRecord, now: Instant) -> None:
        """Ask a member for its own blocks above those that we keep; an observer asks for all that it accepts from now on."""
        assert record.member is not None, "only members have blocks of their own"
        record.stream_deadline = Instant(now + STREAM_MS)
        dag = self._state.dag
        from_round = max(dag.kept_rounds[record.member], dag.horizon) + 1
        self._state.outbox.add(Send(peer, encode(Subscribe(from_round, self._state.me is None))))

    def _take_stream(self, peer: PeerId, record: PeerRecord, blocks: tuple[Block, ...], now: Instant) -> None:
        if record.member is None or record.stream_deadline is None:
            self._refuse(peer, Offence.UNSOLICITED, "own blocks")
            return
        fates = [self._intake.take(peer, block, now) for block in blocks if block.content.author == record.member]
        if len(fates) == STREAM_BLOCKS_MAX and Fate.KEPT in fates and Fate.TOO_FAR not in fates:
            self._subscribe(peer, record, now)

    def _take_own(self, peer: PeerId, record: PeerRecord, answer: OwnNewest, now: Instant) -> None:
        if self._recovery is None or self._proposer is None:
            self._refuse(peer, Offence.UNSOLICITED, "answer about our own newest block")
            return
        block = self._recovery.answered(peer, record, answer)
        if block is not None:
            self._proposer.signed_round = max(self._proposer.signed_round, block.content.round)
            self._intake.take(peer, block, now)

    def _take_commits(self, peer: PeerId, record: PeerRecord, answer: Commits, now: Instant) -> None:
        if not record.commit_requests.was_sent(answer.number):
            self._refuse(peer, Offence.UNSOLICITED, f"commits for request {answer.number}")
        elif not self._snapshot.take(peer, record, answer, now):
            self._catch_up.take(peer, record, answer, now)

    # --- time ---

    def _tick(self, name: str, now: Instant) -> None:
        if name == PACE_TIMER:
            self._pace_at = None
        elif name == FETCH_TIMER:
            self._synchroniser.fire(now)
        else:
            assert name == SYNC_TIMER, f"no timer is called {name}"
            self._state.outbox.add(SetTimer(SYNC_TIMER, Instant(now + SYNC_MS)))
            self._synchroniser.tick(now)
            self._snapshot.tick(now)
            if not self._snapshot.is_joining:
                self._catch_up.tick(now)
            self._ask_again(now)
            self._resend(now)

    def _ask_again(self, now: Instant) -> None:
        """Members that are ahead of what we keep of them, and members that have not told us our own newest block."""
        dag = self._state.dag
        for peer, record in self._state.peers.all():
            if self._recovery is not None:
                self._recovery.ask(peer, record, now)
            if record.member is None or (record.stream_deadline is not None and now < record.stream_deadline):
                continue
            seen = self._state.newest_seen.get(record.member)
            if seen is not None and seen.content.round > max(dag.kept_rounds[record.member], dag.horizon):
                self._subscribe(peer, record, now)

    def _resend(self, now: Instant) -> None:
        if self._proposer is None or self._proposer.last_block is None:
            return
        if now >= max(self._resent_at, self._proposer.created_at) + RESEND_MS:
            self._resent_at = now
            self._proposer.resend()

    # --- what follows ---

    def _settle(self, now: Instant) -> None:
        while True:
            has_moved = self._committing.settle()
            has_moved |= self._catch_up.advance(now)
            has_moved |= self._create(now)
            if not has_moved:
                break
        self._synchroniser.settle(now)
        self._set_pace()

    def _create(self, now: Instant) -> bool:
        if self._proposer is None or self._recovery is None or not self._recovery.is_done:
            return False
        has_created = self._proposer.create_all(now)
        if has_created and self._pushing is not None:
            self._pushing.push()
        return has_created

    def _set_pace(self) -> None:
        due_at = None if self._proposer is None else self._proposer.due_at
        if due_at is not None and due_at != self._pace_at:
            self._pace_at = due_at
            self._state.outbox.add(SetTimer(PACE_TIMER, due_at))

    def _effects(self) -> Effects:
        effects = self._state.outbox.take()
        for index, effect in enumerate(effects):
            if isinstance(effect, Refuse):
                self._leave(effect.peer)
            if isinstance(effect, Halt):
                self._is_halted = True
                return effects[: index + 1]
        return effects

    def _refuse(self, peer: PeerId, offence: Offence, detail: str) -> None:
        self._state.outbox.add(Refuse(peer, offence, detail))

    # --- what the parts tell each other ---

    def _accepted(self, vertex: Vertex) -> None:
        if self._proposer is not None and self._pushing is not None:
            self._proposer.accepted(vertex)
            self._pushing.accepted(vertex)

    def _ordered(self, vertex: Vertex) -> None:
        if self._proposer is not None:
            self._proposer.ordered(vertex)

    def _forgotten(self, vertices: list[Vertex]) -> None:
        if self._proposer is not None:
            self._proposer.forgotten(vertices)

    def _committed(self) -> None:
        self._vouching.reached(self._state.order.index)
        if self._proposer is not None:
            self._proposer.pacemaker.committed()

    def _restored(self, vertex: Vertex) -> None:
        self._accepted(vertex)
        self._vouching.note(vertex.block)
        if self._proposer is not None and vertex.author == self._state.me and not self._state.order.is_ordered(vertex):
            self._proposer.restored(vertex)
