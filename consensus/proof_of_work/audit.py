"""Heavier branches that leave the main chain below the final block: their bodies are fetched and looked at before we halt.

Headers alone prove work, not that there is anything behind them. What such a branch has learned cannot be checked any more,
since the state that it grew out of is gone: so its bodies have to be there, be the named ones, and list sound contributions.
They are looked at one after the other and not kept.
"""

from consensus.effects import Effect, Halt, Send
from consensus.encoding import encode
from consensus.proof_of_work.block_download import BODIES_PER_REQUEST, STALLED_AGAIN_MS, STALLED_MS
from consensus.proof_of_work.block_index import BlockIndex
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.head_candidates import HeadCandidates
from consensus.proof_of_work.header import NamedBlock
from consensus.proof_of_work.header_branches import Branch
from consensus.proof_of_work.messages import GetBlocks, Place
from consensus.proof_of_work.peers import ANSWER_TIMEOUT_MS, LONG_AGO, Peers
from consensus.proof_of_work.validation import Validation
from consensus.types import Height, Instant, PeerId, StepId


class Audit:
    """Looks at the heaviest rival, while it has more work than our head, and than all that may still become it."""

    def __init__(self, chain: Chain, validation: Validation, candidates: HeadCandidates, peers: Peers) -> None:
        self._chain = chain
        self._validation = validation
        self._candidates = candidates
        self._peers = peers
        self._branch: Branch | None = None
        self._given_up_at = LONG_AGO
        """Nothing has come by then: it counts no more until something does."""
        self._ask_again_at = LONG_AGO
        self._is_stalled = False

    @property
    def is_under_way(self) -> bool:
        """Whether bodies of a heavier rival are arriving: meanwhile nothing becomes final."""
        return self._branch is not None and not self._is_stalled

    def wants(self, named: NamedBlock) -> bool:
        """Whether this is the next body to look at."""
        branch = self._branch
        height = named.header.height
        return branch is not None and height == branch.checked + 1 and branch.has(height, named.id)

    def take(self, peer: PeerId, named: NamedBlock, now: Instant) -> tuple[Effect, ...]:
        """The next body of the rival. Refuses who sends a wrong one, and drops the branch that names a broken one."""
        branch = self._branch
        assert branch is not None, "the body is wanted"
        effects = self._validation.inspect(peer, named)
        if not effects:
            branch.checked = Height(named.header.height)
            self._expect(now)
        elif self._validation.is_rejected(named.id):
            self._chain.ahead.remove(branch)
            self._branch = None
        return effects

    def seek(self, now: Instant) -> tuple[Effect, ...]:
        """Ask for the next bodies."""
        self._choose(now)
        branch = self._branch
        if branch is None or branch.checked == branch.tip.height:
            return ()
        if now >= self._given_up_at:
            self._is_stalled = True
        if now < self._ask_again_at:
            return ()
        heights = range(branch.checked + 1, min(branch.checked + BODIES_PER_REQUEST, branch.tip.height) + 1)
        places = tuple(Place(height, branch.id_at(height)) for height in heights)
        return self._ask(branch, places, now)

    def verdict(self) -> Halt | None:
        """Halt, once so much of the rival was looked at that it has more work than our head."""
        branch, head = self._branch, self._chain.tree.head
        if branch is None or branch.link_at(branch.checked).work <= head.work:
            return None
        return Halt(_reason(branch, head, self._chain))

    def _choose(self, now: Instant) -> None:
        """The heaviest rival, as long as it is heavier than the heaviest proven branch that counts.

        While a peer catches up its head has little work: a rival that is heavier than that alone decides nothing.
        """
        rival = self._chain.ahead.heaviest_rival
        if rival is None or rival.tip.work <= self._candidates.heaviest.work:
            self._branch = None
        elif rival is not self._branch:
            self._branch = rival
            self._expect(now)

    def _expect(self, now: Instant) -> None:
        """Bodies are coming: more are asked for at once, and waited for."""
        self._given_up_at, self._ask_again_at, self._is_stalled = Instant(now + STALLED_MS), now, False

    def _ask(self, branch: Branch, places: tuple[Place, ...], now: Instant) -> tuple[Effect, ...]:
        """One peer that has shown as much work, each time another one."""
        work = branch.link_at(places[-1].height).work
        free = [
            (record.empty_answers, record.block_requests.owed, index)
            for index, (_, record) in enumerate(self._peers.all())
            if record.tip_work >= work and record.block_requests.may_ask(now) and record.asking.has_tokens(1, now)
        ]
        if not free:
            return ()
        peer, record = self._peers.all()[min(free)[2]]
        record.asking.take(1, now)
        record.block_requests.add(tuple(StepId(place.id) for place in places), now)
        self._ask_again_at = Instant(now + (STALLED_AGAIN_MS if self._is_stalled else ANSWER_TIMEOUT_MS))
        return (Send(peer, encode(GetBlocks(places))),)


def _reason(branch: Branch, head: BlockIndex, chain: Chain) -> str:
    tip, final = branch.tip, chain.final
    return (
        f"the branch that ends in block {tip.id.hex()} (height {tip.height}) has more work than our head {head.id.hex()} "
        f"(height {head.height}), but leaves our chain after height {branch.fork_height}, below our final block "
        f"{final.id_at(final.height).hex()} (height {final.height}): following it would undo what was final. Its blocks up to "
        f"height {branch.checked} have come and are sound. Ask other peers which chain is the network's. To keep ours, start "
        "again, connected to peers that follow it. To follow the other one, remove the store (keep the key) and start again"
    )
