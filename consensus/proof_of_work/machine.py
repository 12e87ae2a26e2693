"""The ordering machine of proof of work: routes each input to the part that knows about it, then settles what follows.

What follows is the same after every input: a new head is adopted, a deep block becomes final, the puzzle is replaced.
"""

from collections.abc import Iterable
from typing import assert_never

from consensus.effects import Adopt, Broadcast, Effect, Finalise, KeepAttachments, Offence, PassOver, Refuse, Send, SetTimer
from consensus.encoding import Signer, encode
from consensus.message_reader import oversized_block, read_message
from consensus.payload_requests import FETCHES_MAX, FREE_SHARE, PayloadRequests
from consensus.proof_of_work.author_window import AuthorWindow
from consensus.proof_of_work.block_checks import BlockChecks, NamedPayloads
from consensus.proof_of_work.block_tree import BlockStatus, next_link
from consensus.proof_of_work.contribution_relay import ContributionRelay
from consensus.proof_of_work.head_candidates import HeadCandidates
from consensus.proof_of_work.header import BLOCK_BYTES_MAX, Block, NamedBlock, name_block
from consensus.proof_of_work.header_sync import HeaderSync
from consensus.proof_of_work.initial_sync import InitialSync
from consensus.proof_of_work.mempool import Rank, equal_claims
from consensus.proof_of_work.messages import (
    MESSAGE_BYTES_MAX,
    MESSAGE_CODEC,
    BlockMessage,
    Blocks,
    Busy,
    ContributionMessage,
    GetBlocks,
    GetHeaders,
    Headers,
    Message,
    Tip,
)
from consensus.proof_of_work.mining import REFRESH_TIMER, Mining
from consensus.proof_of_work.peers import PeerRecord, Peers
from consensus.proof_of_work.records import (
    BlockArchive,
    read_records,
    rebuild_chain,
    record_of_final,
    recorded_block,
    replay_height,
    replays,
)
from consensus.proof_of_work.responses import Responses
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.proof_of_work.status import STEPS_TOLD_MAX, ChainReport, PowStatus
from consensus.proof_of_work.validation import HeaderAcceptance, Validation
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
from consensus.rate_limit import Spending
from consensus.types import Digest, Height, Instant, NetworkId, PeerId, StepId
from consensus.wall_clock import PeerClocks, WallClock

__all__ = ["BlockArchive", "PowStatus", "ProofOfWork", "ProofOfWorkRules"]

SYNC_TIMER = "sync"

SYNC_MS = 500
"""How often overdue requests and early blocks are looked at again."""

Effects = tuple[Effect, ...]


class ProofOfWork:
    """An OrderingProtocol. `seed` (up to 64 bytes) draws ties; keep it, so that a restart finds the same head.

    `records`: rows (table, key, value) of earlier incarnations sorted by (table, key); `archive` reads the same blocks by key.
    `replay_from`: a final step whose state the learner holds. `rank`: how much a contribution's payload claims. Raises
    CorruptRecordsError.
    """

    def __init__(
        self,
        *,
        rules: ProofOfWorkRules,
        network_id: NetworkId,
        identity: PeerId,
        sign: Signer,
        seed: bytes,
        archive: BlockArchive,
        records: Iterable[tuple[str, bytes, bytes]] = (),
        is_leading: bool = True,
        replay_from: StepId | None = None,
        rank: Rank = equal_claims,
        fetches_max: int = FETCHES_MAX,
    ) -> None:
        restored = read_records(network_id, rules, identity, records)
        self._rules = rules
        self._network_id = network_id
        self._identity = identity
        self._archive = archive
        self._is_leading = is_leading
        self._chain = rebuild_chain(restored, seed)
        self._replay_above = replay_height(self._chain, replay_from)
        self._peers = Peers()
        self._wall = WallClock()
        self._peer_clocks = PeerClocks()
        self._wanted = PayloadRequests(self._peers, fetches_max, FREE_SHARE)
        self._named_payloads = NamedPayloads()
        self._candidates = HeadCandidates(self._chain, self._wanted, rules)
        self._checks = BlockChecks(self._chain, identity, self._wanted, self._named_payloads, self._candidates)
        self._author_window = AuthorWindow(rules.author_window, self._chain, self._checks.leader_of)
        self._validation = Validation(
            network_id, rules, self._chain, self._candidates, self._checks, author_window=self._author_window, wall=self._wall
        )
        self._header_sync = HeaderSync(network_id, self._chain, self._validation, self._candidates, self._peers)
        self._initial_sync = InitialSync(self._chain, self._candidates, self._header_sync, rules.block_interval_ms)
        self._responses = Responses(self._chain, archive, self._peers)
        self._relay = ContributionRelay(
            network_id,
            identity,
            sign,
            self._chain,
            self._validation,
            peers=self._peers,
            wanted=self._wanted,
            named_payloads=self._named_payloads,
            author_window=self._author_window,
            rules=rules,
            rank=rank,
        )
        self._mining = Mining(network_id, rules, identity, sign, self._wall)
        final_led = sum(self._chain.final.has_at(restored.links[step].height, step) for step in restored.own)
        self._report = ChainReport(identity, rules, self._chain, self._checks, wanted=self._wanted, final_led=final_led)
        self._adopted = self._chain.tree.head.id
        self._is_halted = False
        self._pushed: StepId | None = None
        """The block that the present input has pushed, if that has to be proven first."""

    @property
    def status(self) -> PowStatus:
        """What people may want to know now."""
        return self._report.status(self._validation, self._relay, self._header_sync, self._peer_clocks)

    def start(self, now: Instant) -> Effects:
        """Replay what is known, adopt the head, and check what had not been checked. Raises CorruptRecordsError."""
        replayed = tuple(replays(self._chain, self._archive, self._replay_above))
        self._remember_restored()
        self._mining.on_new_head(self._adopted)
        self._initial_sync.start(now)
        if self._chain.head_height > 0:
            self._peers.on_restart(now)
        head, final = self._chain.tree.head, self._chain.final
        known_final = (Finalise(final.id_at(final.height), final.height),) if final.height > 0 else ()
        unchecked = self._check_restored()
        timer = SetTimer(SYNC_TIMER, Instant(now + SYNC_MS))
        named = self._named_payloads.digests()
        kept = (KeepAttachments(named),) if named else ()
        return (*kept, *replayed, Adopt(head.id, head.height), *known_final, *unchecked, timer)

    def handle(self, event: Input, now: Instant) -> Effects:
        """What should be done about `event`. Nothing after a Halt."""
        if self._is_halted:
            return ()
        if isinstance(event, ClockRead):  # before the start, too: nothing follows until something else happens
            self._read_clock(event)
            return ()
        self._candidates.renew()
        self._pushed = None
        effects = self._respond(event, now)
        for effect in effects:
            if isinstance(effect, Refuse):
                self._leave(effect.peer)
        effects += self._settle(now)
        effects += self._pass_over_what_waits()
        halt = self._initial_sync.reason_to_halt()
        if halt is None:
            return effects
        self._is_halted = True
        return (*effects, halt)

    def _pass_over_what_waits(self) -> Effects:
        """Whoever else sends a block that waits for an outsider's turn may have one that comes sooner."""
        is_left_waiting = self._pushed is not None and self._validation.is_left_waiting(self._pushed)
        return (PassOver(),) if is_left_waiting else ()

    def _read_clock(self, event: ClockRead) -> None:
        self._wall.set_offset(event.offset_ms)
        self._peer_clocks.forget_all()
        self._mining.refresh()

    def _leave(self, peer: PeerId) -> None:
        """The peer has left or was refused."""
        self._peers.leave(peer)
        self._validation.leave(peer)
        self._peer_clocks.leave(peer)

    def _respond(self, event: Input, now: Instant) -> Effects:
        match event:
            case PeerJoined(peer, group):
                self._validation.join(peer, group, now)
                self._peers.join(peer, now, group)
                return (Send(peer, encode(self._responses.tip())),)
            case PeerLeft(peer):
                self._leave(peer)
                return ()
            case Received(peer, message):
                return self._receive(peer, message, now)
            case Submitted():
                return self._submit(event)
            case Offered():
                self._mining.on_offer(event, self._relay.pool.good)
                return ()
            case Assessed():
                return self._relay.on_assessment(event, now)
            case Checked(step):
                self._mining.on_verdict(step)
                self._initial_sync.on_block_checked(step)
                return self._checks.on_verdict(event) + self._relay.on_base_checked(step) + self._header_sync.seek(now)
            case PuzzleSolved():
                return self._lead(event)
            case PuzzleVerified():
                return self._on_puzzle_verified(event, now)
            case TimerFired(name):
                return self._tick(name, now)
            case AttachmentHeld(digest):
                return self._on_attachment_held(digest)
            case FetchFailed(digest, peer):
                self._wanted.on_failure(digest, peer, now)
                return ()
            case AttachmentsNeeded(attachments):
                self._wanted.learner_needs(attachments)
                return ()
            case StateReached() | StateHeld() | LearnerBehind() | LearnerAwaitsCommit() | LearnerPartDue():
                return ()  # of total order; here the blocks lead to every state
            case ClockRead():
                raise AssertionError("is handled before all else")
            case _:
                assert_never(event)

    def _receive(self, peer: PeerId, data: bytes, now: Instant) -> Effects:
        record = self._peers.get(peer)
        if record is None:  # refused a moment ago
            return (PassOver(),)
        message = read_message(MESSAGE_CODEC, peer, data, MESSAGE_BYTES_MAX)
        return (message,) if isinstance(message, Refuse) else self._take(peer, record, message, len(data), now)

    def _take(self, peer: PeerId, record: PeerRecord, message: Message, size: int, now: Instant) -> Effects:
        match message:
            case BlockMessage(block):
                return self._take_block(peer, record, block, size, now)
            case ContributionMessage(contribution):
                return self._relay.take(peer, record, contribution, now)
            case Tip():
                return self._header_sync.take_tip(record, message, now)
            case GetHeaders() | GetBlocks():
                return (self._responses.answer(peer, record, message, now),)
            case Headers():
                return self._header_sync.take_headers(peer, record, message, now)
            case Blocks():
                return self._header_sync.take_blocks(peer, record, message, now)
            case Busy():
                return self._header_sync.take_busy(peer, record, message, now)
            case _:
                assert_never(message)

    def _take_block(self, peer: PeerId, record: PeerRecord, block: Block, size: int, now: Instant) -> Effects:
        refusal = oversized_block(peer, size, BLOCK_BYTES_MAX)
        if refusal is not None:
            return (refusal,)
        named = name_block(self._network_id, block)
        if self._validation.is_new(named):
            spending = record.headers.spend(now)
            if spending is Spending.FLOODING:
                return Refuse(peer, Offence.FLOODING, "blocks"), PassOver()
            if spending is Spending.OVERDRAWN:
                return (PassOver(),)
        pushed = self._validation.take_block(peer, named, now)
        acceptance, effects = pushed.acceptance, pushed.effects
        if acceptance in (HeaderAcceptance.STAGED, HeaderAcceptance.EARLY):
            self._peer_clocks.note(peer, block.header.time_ms, self._wall.at(now))
        if acceptance in (HeaderAcceptance.STAGED, HeaderAcceptance.KNOWN):
            self._pushed = named.id
        if acceptance is HeaderAcceptance.DROPPED:
            return (*effects, PassOver())
        if acceptance is HeaderAcceptance.ORPHAN:
            return effects + self._header_sync.ask_about_orphan(peer, record, now)
        if pushed.link is not None:
            record.note_tip(pushed.link.work, pushed.link.height)
        return effects

    def _on_puzzle_verified(self, answer: PuzzleVerified, now: Instant) -> Effects:
        verified = self._validation.on_puzzle_verified(answer)
        if verified.source is not None:
            self._header_sync.on_proven(verified.source, now)
        return verified.effects + self._header_sync.seek(now)

    def _lead(self, solution: PuzzleSolved) -> Effects:
        named = self._mining.block_of(solution)
        if named is None:
            return ()
        tree = self._chain.tree
        assert named.header.parent == tree.head.id, "puzzles are only ever on top of the head"
        if not tree.insert(next_link(tree.head, named.id, named.header, self._rules)):
            return ()
        self._mining.on_own_block(named.id, tree.head.id)
        record, *check = self._checks.on_own_body(named)
        return record, Broadcast(encode(BlockMessage(named.block))), *check

    def _submit(self, submitted: Submitted) -> Effects:
        effects: Effects = ()
        for attachment in submitted.attachments:  # the shell has recorded them
            effects += self._on_attachment_held(attachment.digest)
        return effects + self._relay.submit(submitted)

    def _on_attachment_held(self, digest: Digest) -> Effects:
        effects: Effects = ()
        for waiter in self._wanted.note_held(digest):
            self._relay.on_attachments(Digest(waiter))
            effects += self._checks.on_attachments(StepId(waiter))
        return effects

    def _tick(self, name: str, now: Instant) -> Effects:
        if name == REFRESH_TIMER:
            self._mining.refresh()
            return ()
        assert name == SYNC_TIMER, f"no timer is called {name}"
        effects = (
            SetTimer(SYNC_TIMER, Instant(now + SYNC_MS)),
            *self._validation.retry_early(now),
            *self._header_sync.seek(now),
        )
        return effects + self._responses.tell_tip(now)

    def _settle(self, now: Instant) -> Effects:
        head = self._chain.tree.head
        effects: Effects = ()
        if head.id != self._adopted:
            self._adopted = head.id
            effects = (Adopt(head.id, head.height),)
            self._relay.on_new_head()
            self._mining.on_new_head(head.id)
        self._initial_sync.look(now)
        effects += self._finalise(now)
        may_lead = self._is_leading and not self._initial_sync.is_catching_up(now)
        asked = (
            self._checks.check_more()
            + self._validation.verify_more(now)
            + self._relay.assess_more(now)
            + self._wanted.fetch_more(now)
        )
        return effects + asked + self._named_payloads.take_released() + self._mining.work(head, may_lead, now)

    def _finalise(self, now: Instant) -> Effects:
        tree = self._chain.tree
        height = Height(tree.head.height - self._rules.finality_depth)
        if height <= tree.root.height or not self._initial_sync.may_finalise(height, now):
            return ()
        for link in self._chain.finalise(height):
            chain_step = self._checks.chain_step_of(link.id)
            self._report.on_final(chain_step)
            self._author_window.on_final(chain_step.leader, link.height)
            self._named_payloads.forget(link.id, is_final=True)
        self._checks.forget_dead()
        self._header_sync.forget_dead()
        return record_of_final(tree.root), Finalise(tree.root.id, tree.root.height)

    def _remember_restored(self) -> None:
        tree, final = self._chain.tree, self._chain.final
        remembered = max(STEPS_TOLD_MAX, self._rules.author_window)
        for height in range(max(1, final.height - remembered + 1), final.height + 1):
            step = final.id_at(height)
            self._checks.remember(step, recorded_block(self._archive, Height(height), step))
            chain_step = self._checks.chain_step_of(step)
            self._report.on_restored(chain_step)
            self._author_window.on_final(chain_step.leader, chain_step.height)
        for link in tree.links()[1:]:
            if tree.is_checked(link.id):
                self._checks.remember(link.id, recorded_block(self._archive, link.height, link.id))

    def _check_restored(self) -> Effects:
        effects: Effects = ()
        for link in self._chain.tree.links_with_status(BlockStatus.UNCHECKED):
            block = recorded_block(self._archive, link.height, link.id)
            effects += self._checks.on_restored_body(NamedBlock(link.id, block))
        return effects
