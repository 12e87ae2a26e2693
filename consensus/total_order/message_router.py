"""What peers say to us: read, judged by its kind, and handed to the part that knows about it.

Who syncs from us is answered from memory, else from what we have recorded. Each answer is bounded.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from consensus.effects import Offence, PassOver, Refuse, Send
from consensus.encoding import encode, fitting
from consensus.message_reader import oversized_block, read_message
from consensus.rate_limit import Spending
from consensus.total_order.block import BLOCK_BYTES_MAX, Block
from consensus.total_order.commit_sync import CommitSync
from consensus.total_order.context import State
from consensus.total_order.linearizer import CommitRecord
from consensus.total_order.member import Member, answer_own
from consensus.total_order.messages import (
    ANSWER_BYTES_MAX,
    COMMITS_MAX,
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
from consensus.total_order.peers import PeerRecord, Requests
from consensus.total_order.records import read_block, read_commit
from consensus.total_order.state_sync import StateSync
from consensus.total_order.synchroniser import Synchroniser
from consensus.total_order.validation import BlockAcceptance, Validation
from consensus.types import Instant, PeerId


class Responses:
    """Answers from what is held, and changes nothing."""

    def __init__(self, state: State) -> None:
        self._state = state

    def blocks(self, peer: PeerId, request: GetBlocks) -> None:
        """Those of the blocks that we have, as long as they fit."""
        dag, archive = self._state.dag, self._state.archive
        asked = dict.fromkeys(request.references)
        found = (dag.block(reference.digest) or read_block(archive, reference) for reference in asked)
        self._send(peer, Blocks(request.number, fitting((block for block in found if block is not None), ANSWER_BYTES_MAX)))

    def own_blocks(self, peer: PeerId, from_round: int) -> None:
        """Our own blocks from this round on that are above the horizon."""
        found = itertools.islice(self._own_from(from_round), STREAM_BLOCKS_MAX)
        self._send(peer, OwnBlocks(fitting(found, ANSWER_BYTES_MAX)))

    def commits(self, peer: PeerId, request: GetCommits) -> None:
        """Consecutive commits from the index asked for, as many as fit."""
        self._send(peer, Commits(request.number, fitting(self._commits_from(request.first), ANSWER_BYTES_MAX)))

    def _commits_from(self, first: int) -> Iterator[CommitRecord]:
        for index in range(max(1, first), min(first + COMMITS_MAX, self._state.order.index + 1)):
            record = read_commit(self._state.archive, index)
            if record is None:  # on its way to the disk, or before our own snapshot
                return
            yield record

    def _own_from(self, from_round: int) -> Iterator[Block]:
        dag, me = self._state.dag, self._state.me
        if me is None or dag.newest[me] is None:
            return
        for number in range(max(from_round, dag.horizon + 1), dag.highest_round + 1):
            vertex = dag.vertex_of(me, number)
            if vertex is not None:
                yield vertex.block

    def _send(self, peer: PeerId, answer: Blocks | OwnBlocks | Commits) -> None:
        self._state.effects.add(Send(peer, encode(answer)))


STREAM_MS = 2_000
"""So long after asking for a member's own blocks they may be asked for again."""


@dataclass(frozen=True, slots=True)
class MessageRouter:
    """The way from a message to the parts. `member`: None for an observer."""

    state: State
    validation: Validation
    synchroniser: Synchroniser
    commit_sync: CommitSync
    state_sync: StateSync
    responses: Responses
    member: Member | None

    def join(self, peer: PeerId, now: Instant) -> None:
        """A peer has connected: ask for what it alone can give, and show it our newest block."""
        record = self.state.peers.join(peer, now)
        if record.member is not None:
            self.subscribe(peer, record, now)
        if self.member is not None:
            self.member.recovery.ask(peer, record, now)
            if self.member.proposer.last_block is not None:
                self.state.effects.add(Send(peer, encode(BlockMessage(self.member.proposer.last_block))))

    def leave(self, peer: PeerId) -> None:
        """A peer has left or was refused."""
        record = self.state.peers.get(peer)
        self.state.peers.leave(peer)
        self.state.peer_clocks.leave(peer)
        self.synchroniser.leave(peer, () if record is None else record.block_requests.digests())
        self.commit_sync.leave(peer)
        self.state_sync.leave(peer)
        if self.member is not None:
            self.member.recovery.leave(peer)

    def receive(self, peer: PeerId, data: bytes, now: Instant) -> None:
        """A message of a peer, as bytes."""
        record = self.state.peers.get(peer)
        if record is None:  # refused a moment ago
            self.state.effects.add(PassOver())
            return
        message = read_message(MESSAGE_CODEC, peer, data, MESSAGE_BYTES_MAX)
        if isinstance(message, Refuse):
            self.state.effects.add(message)
        else:
            self._take(peer, record, message, len(data), now)

    def _take(self, peer: PeerId, record: PeerRecord, message: Message, size: int, now: Instant) -> None:
        match message:
            case BlockMessage(block):
                refusal = oversized_block(peer, size, BLOCK_BYTES_MAX)
                if refusal is None:
                    self._take_pushed(peer, record, block, now)
                else:
                    self.state.effects.add(refusal)
            case OwnBlocks(blocks):
                self._take_stream(peer, record, blocks, now)
            case Blocks():
                self._take_blocks(peer, record, message, now)
            case OwnNewest():
                self._take_own(peer, record, message, now)
            case Commits():
                self._take_commits(peer, record, message, now)
            case Subscribe() | GetBlocks() | GetCommits() | AskOwn():
                self._serve(peer, record, message, now)
            case _:
                assert_never(message)

    def _take_pushed(self, peer: PeerId, record: PeerRecord, block: Block, now: Instant) -> None:
        acceptance = self.validation.take(peer, block, now)
        if acceptance is BlockAcceptance.KEPT and block.content.author == record.member:
            self.state.peer_clocks.note(peer, block.content.time_ms, self.state.wall.at(now))
        if acceptance in {BlockAcceptance.OVER_BUDGET, BlockAcceptance.TOO_FAR}:
            self.state.effects.add(PassOver())

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
                record.wants_all = wants_all and record.member is None
                self.responses.own_blocks(peer, from_round)
            case GetBlocks(_, references):
                if self.member is not None and record.member is not None:
                    self.member.relay.on_request(record.member, references)
                self.responses.blocks(peer, request)
            case GetCommits():
                self.responses.commits(peer, request)
            case AskOwn():
                answer_own(self.state, peer, record, request)
            case _:
                assert_never(request)

    # --- answers ---

    def _take_blocks(self, peer: PeerId, record: PeerRecord, answer: Blocks, now: Instant) -> None:
        if self._is_useful(peer, record, record.block_requests, answer.number, now):
            for _, block in self.synchroniser.on_answer(peer, record, answer):
                self.state.counters.blocks_fetched += self.validation.take(peer, block, now) is BlockAcceptance.KEPT

    def _is_useful(self, peer: PeerId, record: PeerRecord, requests: Requests, number: int, now: Instant) -> bool:
        """Whether an answer is expected. To a number that was never used it is a lie; one that is late costs its sender."""
        if requests.is_expected(number):
            return True
        if not requests.was_sent(number):
            self._refuse(peer, Offence.UNSOLICITED, f"answer to request {number}")
        elif record.requests.spend(now) is Spending.FLOODING:
            self._refuse(peer, Offence.FLOODING, "answers")
        return False

    def subscribe(self, peer: PeerId, record: PeerRecord, now: Instant) -> None:
        """Ask a member for its own blocks above those that we keep; an observer asks for all that it accepts from now on."""
        assert record.member is not None, "only members have blocks of their own"
        record.stream_deadline = Instant(now + STREAM_MS)
        dag = self.state.dag
        from_round = max(dag.kept_rounds[record.member], dag.horizon) + 1
        self.state.effects.add(Send(peer, encode(Subscribe(from_round, self.state.me is None))))

    def _take_stream(self, peer: PeerId, record: PeerRecord, blocks: tuple[Block, ...], now: Instant) -> None:
        if record.member is None or record.stream_deadline is None:
            self._refuse(peer, Offence.UNSOLICITED, "own blocks")
            return
        fates = [self.validation.take(peer, block, now) for block in blocks if block.content.author == record.member]
        if len(fates) == STREAM_BLOCKS_MAX and BlockAcceptance.KEPT in fates and BlockAcceptance.TOO_FAR not in fates:
            self.subscribe(peer, record, now)

    def _take_own(self, peer: PeerId, record: PeerRecord, answer: OwnNewest, now: Instant) -> None:
        if self.member is None:
            self._refuse(peer, Offence.UNSOLICITED, "answer about our own newest block")
            return
        block = self.member.recovery.on_answer(peer, record, answer)
        if block is not None:
            self.member.proposer.note_signed(block.content.round)
            self.validation.take(peer, block, now)

    def _take_commits(self, peer: PeerId, record: PeerRecord, answer: Commits, now: Instant) -> None:
        if not self._is_useful(peer, record, record.commit_requests, answer.number, now):
            return
        if not self.state_sync.take(peer, record, answer, now):
            self.commit_sync.take(peer, record, answer, now)

    def ask_again(self, now: Instant) -> None:
        """Members that are ahead of what we keep of them, and members that have not told us our own newest block."""
        dag = self.state.dag
        for peer, record in self.state.peers.all():
            if self.member is not None:
                self.member.recovery.ask(peer, record, now)
            if record.member is None or (record.stream_deadline is not None and now < record.stream_deadline):
                continue
            seen = self.state.newest_seen.get(record.member)
            if seen is not None and seen.content.round > max(dag.kept_rounds[record.member], dag.horizon):
                self.subscribe(peer, record, now)

    def _refuse(self, peer: PeerId, offence: Offence, detail: str) -> None:
        self.state.effects.add(Refuse(peer, offence, detail))
