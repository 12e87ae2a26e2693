"""From an outsider's bytes to a proven block: cheap checks, the puzzle, then the body's signatures (docs/protocol.md, 5)."""

from dataclasses import dataclass
from enum import Enum

from consensus.effects import Accusation, Accuse, Effect, Offence, Refuse, VerifyPuzzle
from consensus.encoding import encode
from consensus.proof_of_work.author_window import AuthorWindow
from consensus.proof_of_work.block_checks import BlockChecks
from consensus.proof_of_work.block_tree import BlockIndex, BlockStatus, header_fault, next_link
from consensus.proof_of_work.chain import Chain, Parent
from consensus.proof_of_work.head_candidates import HeadCandidates
from consensus.proof_of_work.header import (
    Block,
    Body,
    Header,
    NamedBlock,
    NamedHeader,
    body_digest,
    body_fault,
    draft_of,
    is_signed_by_leader,
    puzzle_prefix,
)
from consensus.proof_of_work.messages import HEADERS_MAX, Place
from consensus.proof_of_work.puzzle_budgets import PuzzleBudgets
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.proof_of_work.unverified_headers import (
    STAGED_MAX,
    STAGED_PER_PEER_MAX,
    Orphan,
    Orphanage,
    Staged,
    UnverifiedHeaders,
)
from consensus.protocol import PuzzleVerified
from consensus.types import Instant, NetworkId, PeerId, StepId, WallTime
from consensus.wall_clock import WallClock

REJECTED_MAX = 1_024
"""Blocks remembered as broken, so that who sends one again is refused without computing its puzzle again."""


class HeaderAcceptance(Enum):
    """What became of a header."""

    STAGED = "its puzzle will be verified"
    KNOWN = "known before"
    ORPHAN = "its parent is unknown"
    EARLY = "its time is too far ahead of the local clock"
    DROPPED = "its parent is invalid, there is no room, or it is pushed from a branch that is far behind"
    REFUSED = "its sender broke the protocol"


Effects = tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a block that a peer has pushed. `link`: its place, where it is staged, or in the tree."""

    acceptance: HeaderAcceptance
    link: BlockIndex | None
    effects: Effects


@dataclass(frozen=True, slots=True)
class Verified:
    """What a computed puzzle has led to. `source`: who has sent the header, if it adds to what may count; None: it does not."""

    source: PeerId | None
    effects: Effects


@dataclass(frozen=True, slots=True)
class _Rejection:
    offence: Offence
    detail: str


class Validation:
    """Judges headers and bodies by the rules of the network; what passes goes into the chain, and its body on to `checks`.

    It alone holds the headers that wait for their puzzle, the orphans, and the blocks that came too early.
    """

    def __init__(
        self,
        network_id: NetworkId,
        rules: ProofOfWorkRules,
        chain: Chain,
        candidates: HeadCandidates,
        checks: BlockChecks,
        *,
        author_window: AuthorWindow,
        wall: WallClock,
    ) -> None:
        self._network_id = network_id
        self._rules = rules
        self._chain = chain
        self._candidates = candidates
        self._checks = checks
        self._author_window = author_window
        self._wall = wall
        self._rejected: dict[StepId, _Rejection] = {}
        self._budgets = PuzzleBudgets(rules.puzzle_memory_kib)
        self._unverified = UnverifiedHeaders(self._budgets)
        self._waiting = Orphanage()

    @property
    def orphans(self) -> int:
        """How many blocks wait for their parent."""
        return self._waiting.orphans

    def staged_ids(self) -> tuple[StepId, ...]:
        """The headers that wait for their puzzle to be verified."""
        return self._unverified.ids()

    def is_staged(self, step: StepId) -> bool:
        """Whether the header waits for its puzzle to be verified."""
        return self._unverified.get(step) is not None

    def work_staged(self, step: StepId) -> int:
        """The work of a branch that ends in this header, while it waits for its puzzle to be verified; else 0."""
        staged = self._unverified.get(step)
        return 0 if staged is None else staged.link.work

    def is_left_waiting(self, step: StepId) -> bool:
        """Whether the header waits for an outsider's turn."""
        return self._unverified.is_left_waiting(step)

    def has_asked_of_others(self, peer: PeerId) -> bool:
        """Whether headers wait that belong to answers of other peers than this one."""
        return self._unverified.has_asked_of_others(peer)

    def has_room_for_headers(self, peer: PeerId) -> bool:
        """Whether a full answer of this peer could be taken in."""
        unverified = self._unverified
        has_room = len(unverified) + HEADERS_MAX <= STAGED_MAX and self._chain.ahead.has_room
        return has_room and unverified.count_from(peer) + HEADERS_MAX <= STAGED_PER_PEER_MAX

    def discard_light(self, step: StepId) -> bool:
        """Forget a staged branch that begins here, if it is far behind our head; whether it was."""
        if self._candidates.may_contend(max(staged.link.work for staged in self._unverified.branch(step))):
            return False
        self._unverified.discard(step)
        return True

    def is_new(self, named: NamedHeader | NamedBlock) -> bool:
        """Whether judging it would cost anything."""
        return self._unverified.get(named.id) is None and Place(named.header.height, named.id) not in self._chain

    def take_block(self, source: PeerId, named: NamedBlock, now: Instant) -> Pushed:
        """A block that a peer has pushed."""
        fault = self._foreign_body(source, named)
        if fault:
            return Pushed(HeaderAcceptance.REFUSED, None, fault)
        acceptance, effects = self.take_header(source, named.named_header, named.block.body, now, is_asked=False)
        if acceptance is HeaderAcceptance.ORPHAN:
            self._waiting.add_orphan(Orphan(named, source))
        elif acceptance is HeaderAcceptance.EARLY:
            self._waiting.add_early(Orphan(named, source))
        elif acceptance is HeaderAcceptance.KNOWN:
            effects += self._take_known(source, named)
        return Pushed(acceptance, self._link_of(named.id), effects)

    def take_header(
        self, source: PeerId, named: NamedHeader, body: Body | None, now: Instant, *, is_asked: bool
    ) -> tuple[HeaderAcceptance, Effects]:
        """A header that a peer has sent; `body` matches it, if there is one. `is_asked`: we have asked the peer for headers."""
        step, header = named.id, named.header
        if step in self._rejected:
            rejection = self._rejected[step]
            return HeaderAcceptance.REFUSED, (Refuse(source, rejection.offence, rejection.detail),)
        if not self.is_new(named):
            self._unverified.add_source(step, source, now, is_asked=is_asked)
            return HeaderAcceptance.KNOWN, ()
        if not is_signed_by_leader(step, header):
            return HeaderAcceptance.REFUSED, (self._unsigned(source, step),)
        parent = self._parent_of(header)
        if parent is None:
            return HeaderAcceptance.ORPHAN, ()
        fault = header_fault(parent.link, header, self._rules)
        if fault is not None:
            return HeaderAcceptance.REFUSED, self._reject(source, step, header, *fault)
        if header.time_ms > self._wall.at(now) + self._rules.future_limit_ms:
            return HeaderAcceptance.EARLY, ()
        if parent.is_dead:
            return HeaderAcceptance.DROPPED, ()
        link = next_link(parent.link, step, header, self._rules)
        if not is_asked and not self._candidates.may_contend(link.work):
            return HeaderAcceptance.DROPPED, ()
        return self._stage(Staged(link, header, body, source, source, parent.fork_height, is_asked), now)

    def take_body(self, source: PeerId, named: NamedBlock) -> Effects:
        """The body of a block whose header is known; pushed, or asked for."""
        return self._foreign_body(source, named) or self._take_known(source, named)

    def _take_known(self, source: PeerId, named: NamedBlock) -> Effects:
        """A block whose header is known, and whose body is the one that the header names."""
        staged = self._unverified.get(named.id)
        if staged is not None and staged.body is None:
            staged.body, staged.body_source = named.block.body, source
        if self._chain.tree.status(named.id) is not BlockStatus.BODILESS:
            return ()
        if not is_signed_by_leader(named.id, named.header):  # the id does not cover the signature
            return (self._unsigned(source, named.id),)
        return self._judge_body(source, named, is_news=False)

    def on_puzzle_verified(self, answer: PuzzleVerified) -> Verified:
        """A puzzle was computed: the block is proven with all its ancestors, or waits for them, or was a lie."""
        staged, ticket = self._unverified.on_answer(answer.step)
        if staged is None or ticket is None:
            return Verified(None, ())
        if not answer.is_solved:
            self._budgets.settle(staged.source, ticket, is_useful=False)
            detail = f"block {answer.step.hex()[:8]} does not solve its puzzle"
            self._unverified.discard(answer.step)
            return Verified(None, self._reject(staged.source, answer.step, staged.header, Offence.WRONG_PUZZLE, detail))
        staged.is_verified = True
        if self._unverified.get(staged.link.parent) is not None:  # it costs its source nothing until that is known
            ticket.give_back()
            return Verified(None, ())
        is_useful, effects = self._promote(staged)
        self._budgets.settle(staged.source, ticket, is_useful=is_useful)
        return Verified(staged.source if is_useful else None, effects)

    def inspect(self, source: PeerId, named: NamedBlock) -> Effects:
        """What is wrong with a block that is only looked at, if anything."""
        fault = self._foreign_body(source, named)
        if fault:
            return fault
        if not is_signed_by_leader(named.id, named.header):
            return (self._unsigned(source, named.id),)
        wrong = body_fault(self._network_id, named.block, self._rules)
        return () if wrong is None else self._reject(source, named.id, named.block, *wrong)

    def is_rejected(self, step: StepId) -> bool:
        """Whether the block was found broken."""
        return step in self._rejected

    def join(self, peer: PeerId, group: bytes, now: Instant) -> None:
        """A peer has connected, or connected anew: what an earlier connection has left is gone."""
        self.leave(peer)
        self._budgets.join(peer, group, now)

    def leave(self, peer: PeerId) -> None:
        """The peer is gone: what it alone has brought is not verified any more."""
        self._unverified.leave(peer)
        self._budgets.leave(peer)
        self._chain.ahead.leave(peer)

    def verify_more(self, now: Instant) -> Effects:
        """Start on the puzzles that the bounds allow; called once after every input."""
        return tuple(
            VerifyPuzzle(
                staged.link.id,
                puzzle_prefix(self._network_id, draft_of(staged.header)),
                int.from_bytes(staged.header.nonce, "big"),
                int.from_bytes(staged.header.target, "big"),
            )
            for staged in self._unverified.start_verifying(now)
        )

    def retry_early(self, now: Instant) -> Effects:
        """Take the blocks whose time has come."""
        effects: Effects = ()
        for waiting in self._waiting.take_timely(WallTime(self._wall.at(now) + self._rules.future_limit_ms)):
            effects += self.take_block(waiting.source, waiting.named, now).effects
        return effects

    def _link_of(self, step: StepId) -> BlockIndex | None:
        staged = self._unverified.get(step)
        return self._chain.tree.link(step) if staged is None else staged.link

    def _parent_of(self, header: Header) -> Parent | None:
        staged = self._unverified.get(StepId(header.parent))
        if staged is not None:
            return Parent(staged.link, staged.fork_height, is_dead=False)
        return self._chain.parent_of(header)

    def _stage(self, staged: Staged, now: Instant) -> tuple[HeaderAcceptance, Effects]:
        if not self._unverified.add(staged, now):
            return HeaderAcceptance.DROPPED, ()
        effects: Effects = ()
        for orphan in self._waiting.take_children(staged.link.id):
            effects += self.take_block(orphan.source, orphan.named, now).effects
        return HeaderAcceptance.STAGED, effects

    def _promote(self, staged: Staged) -> tuple[bool, Effects]:
        """Move it into the chain, and the verified ones on top of it; whether it may ever count there."""
        effects: Effects = ()
        useful: dict[StepId, None] = {}
        ready = [staged]
        for next_one in ready:
            is_useful, more = self._prove(next_one)
            effects += more
            if is_useful:
                useful[next_one.link.id] = None
            self._unverified.remove(next_one.link.id)
            ready.extend(child for child in self._unverified.children(next_one.link.id) if child.is_verified)
        return staged.link.id in useful, effects

    def _prove(self, staged: Staged) -> tuple[bool, Effects]:
        parent = self._chain.parent_of(staged.header)
        if parent is None:  # forgotten while the puzzle was computed: a dead branch
            return False, ()
        if not self._chain.extend(parent, staged.link, self._candidates.lost, staged.source):
            return False, ()
        if staged.body is None or self._chain.tree.status(staged.link.id) is not BlockStatus.BODILESS:
            return True, ()
        named = NamedBlock(staged.link.id, Block(staged.header, staged.body))
        return True, self._judge_body(staged.body_source, named, is_news=True)

    def _judge_body(self, source: PeerId, named: NamedBlock, *, is_news: bool) -> Effects:
        fault = body_fault(self._network_id, named.block, self._rules) or self._fault_of_payment(named.block)
        if fault is None:
            return self._checks.on_body(named, source, is_news=is_news)
        self._chain.tree.condemn(named.id)
        return self._reject(source, named.id, named.block, *fault)

    def _fault_of_payment(self, block: Block) -> tuple[Offence, str] | None:
        """Large payloads of keys that have paid no block are not even fetched. Above an unchecked block the learner decides."""
        parent, leader = StepId(block.header.parent), PeerId(block.header.leader)
        if not self._chain.tree.is_checked(parent):
            return None
        for contribution in block.body.contributions:
            author = PeerId(contribution.author)
            if contribution.attachments and not self._author_window.may_attach(author, leader, parent):
                return Offence.WRONG_BODY, f"lists a large payload of {author.hex()[:8]}, which has led no block of the window"
        return None

    def _foreign_body(self, source: PeerId, named: NamedBlock) -> Effects:
        if body_digest(self._network_id, named.block.body) == named.header.body:
            return ()
        return (Refuse(source, Offence.WRONG_BODY, f"body of block {named.id.hex()[:8]} is not the named one"),)

    @staticmethod
    def _unsigned(source: PeerId, step: StepId) -> Refuse:
        return Refuse(source, Offence.WRONG_SIGNATURE, f"block {step.hex()[:8]} is not signed by the leader it names")

    def _reject(self, source: PeerId, step: StepId, signed: Header | Block, offence: Offence, detail: str) -> Effects:
        """The leader has signed what no honest peer passes on: so both it and who has sent it are at fault."""
        header = signed if isinstance(signed, Header) else signed.header
        self._rejected[step] = _Rejection(offence, detail)
        if len(self._rejected) > REJECTED_MAX:
            del self._rejected[next(iter(self._rejected))]
        accusation = Accusation(PeerId(header.leader), offence, detail, encode(signed))
        return Accuse(accusation), Refuse(source, offence, detail)
