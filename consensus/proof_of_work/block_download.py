"""Getting the bodies of proven blocks: the lowest missing one first, in batches, from several peers at once.

A body that nobody gives within STALLED_MS is stalled (see `head_candidates`); it is asked for again now and then, and any
arrival brings its branch back.

Heavier branches that leave the main chain below the final block: their bodies are fetched and looked at before we halt.

Headers alone prove work, not that there is anything behind them. What such a branch has learned cannot be checked any more,
since the state that it grew out of is gone: so its bodies have to be there, be the named ones, and list sound contributions.
They are looked at one after the other and not kept.
"""

from dataclasses import dataclass

from consensus.effects import Effect, Halt, Send
from consensus.encoding import encode
from consensus.proof_of_work.block_tree import BlockIndex, BlockStatus
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.head_candidates import HeadCandidates
from consensus.proof_of_work.header import NamedBlock
from consensus.proof_of_work.messages import GetBlocks, Place
from consensus.proof_of_work.packed_headers import Branch
from consensus.proof_of_work.peers import ANSWER_TIMEOUT_MS, LONG_AGO, PeerRecord, Peers
from consensus.proof_of_work.validation import Validation
from consensus.types import Height, Instant, PeerId, StepId

BODIES_PER_REQUEST = 16
"""Small requests spread over many peers."""

BODIES_WAITING_MAX = 128
"""Bodies of one branch that are held or asked for ahead of the lowest unchecked one: the learner takes one after the other.

4 MB at most. The lowest missing body is always among them; blocks that were pushed further up take nothing away from it.
"""

URGENT_DEPTH = 48
"""A body so close to the learner's next check is asked for at once; others wait until there are enough for a whole request."""

STALLED_MS = 20_000
"""Four peers that stay silent, one after the other. So long may headers without bodies keep others from leading."""

STALLED_AGAIN_MS = 30_000
"""How often a stalled body is asked for again."""

HEDGE_MS = 1_500
"""The body that the learner waits for is asked of a second peer when the first has not given it by then."""

ASK_AGAIN_MS = 2_000
"""When everybody who should have a body has been asked for it, it is asked for again after so long."""


@dataclass(slots=True)
class _Search:
    """A body that has been asked for. `tried`: who has not given it, or not yet."""

    peer: PeerId
    asked_at: Instant
    until: Instant
    tried: tuple[PeerId, ...] = ()


class BlockDownload:
    """Knows which body to ask of whom."""

    def __init__(self, chain: Chain, candidates: HeadCandidates, peers: Peers) -> None:
        self._chain = chain
        self._candidates = candidates
        self._peers = peers
        self._searches: dict[StepId, _Search] = {}
        self._gaps: dict[StepId, Instant] = {}
        """When each lowest missing body is given up, or asked for again where it was."""

    def seek(self, now: Instant) -> tuple[Effect, ...]:
        """Ask for what is missing, as far as the bounds allow."""
        again = self._watch_gaps(now)
        sources = self._sources(now)
        wanted = self._wanted(now) + again if sources else []
        if not wanted:
            return ()
        effects: list[Effect] = []
        for peer, record in sources:
            chosen = [link for link in wanted if self._may_ask(peer, record, link)][:BODIES_PER_REQUEST]
            if chosen:
                effects.append(self._ask(peer, record, chosen, now))
                taken = {link.id for link in chosen}
                wanted = [link for link in wanted if link.id not in taken]
            if not wanted:
                break
        self._try_all_again(wanted, now)
        return tuple(effects)

    def on_answer(self, peer: PeerId, asked: tuple[StepId, ...], given: tuple[StepId, ...], now: Instant) -> None:
        """What the peer has not given is asked of others at once; of itself, too, where there was no room for more."""
        last = max((asked.index(step) for step in given), default=len(asked))
        for index, step in enumerate(asked):
            if step not in given:
                self._end_search(peer, step, now, may_have_it=index > last)

    def on_busy(self, peer: PeerId, asked: tuple[StepId, ...], now: Instant) -> None:
        """The peer gives none of these now."""
        for step in asked:
            self._end_search(peer, step, now, may_have_it=True)

    def forget_dead(self) -> None:
        """Drop what is noted of blocks that are no longer in the tree, or have their body."""
        tree = self._chain.tree
        self._searches = {step: kept for step, kept in self._searches.items() if tree.status(step) is BlockStatus.BODILESS}
        self._gaps = {step: at for step, at in self._gaps.items() if tree.status(step) is BlockStatus.BODILESS}

    def _end_search(self, peer: PeerId, step: StepId, now: Instant, *, may_have_it: bool) -> None:
        search = self._searches.get(step)
        if search is None or search.peer != peer:
            return
        search.until = now
        if may_have_it:
            search.tried = tuple(other for other in search.tried if other != peer)

    def _watch_gaps(self, now: Instant) -> list[BlockIndex]:
        """Give up what nobody has given; the stalled ones that are to be asked for again now."""
        gaps: dict[StepId, Instant] = {}
        again: list[BlockIndex] = []
        for link in self._candidates.gaps:
            is_lost = link.id in self._candidates.lost
            due = self._gaps.get(link.id, Instant(now + STALLED_MS))
            if self._candidates.is_stalled(link.id):
                if due <= now:
                    self._searches.pop(link.id, None)
                    again.append(link)
                    due = Instant(now + STALLED_AGAIN_MS)
            elif is_lost or self._candidates.depths[link.id] > BODIES_WAITING_MAX:
                continue  # its turn has not come
            elif due <= now:
                self._candidates.stall(link.id)
                due = Instant(now + STALLED_AGAIN_MS)
            gaps[link.id] = due
        self._gaps = gaps
        return again

    def _wanted(self, now: Instant) -> list[BlockIndex]:
        """What may be asked for, that of the heaviest branch first, the lowest first."""
        if not self._candidates.gaps:
            return []
        tree, depths = self._chain.tree, self._candidates.depths
        bodiless = [link for link in self._candidates.living if tree.status(link.id) is BlockStatus.BODILESS]
        near = [link for link in bodiless if depths[link.id] <= BODIES_WAITING_MAX]
        wanted = [link for link in near if self._is_due(link, now)]
        has_more = len(near) < len(bodiless)
        if has_more and len(wanted) < BODIES_PER_REQUEST and all(depths[link.id] > URGENT_DEPTH for link in wanted):
            return []
        heaviest = self._heaviest_path() if wanted else {}
        wanted.sort(key=lambda link: (link.id not in heaviest, link.height, link.id))
        return wanted

    def _heaviest_path(self) -> dict[StepId, None]:
        """The undecided blocks below the tip of the heaviest branch in the tree."""
        tree = self._chain.tree
        link = self._candidates.heaviest_in_tree
        path: dict[StepId, None] = {}
        while link is not None and not tree.is_checked(link.id):
            path[link.id] = None
            link = tree.link(link.parent)
        return path

    def _is_due(self, link: BlockIndex, now: Instant) -> bool:
        search = self._searches.get(link.id)
        if search is None or search.until <= now:
            return True
        is_next = self._chain.tree.is_checked(link.parent)
        return is_next and now - search.asked_at >= HEDGE_MS

    def _may_ask(self, peer: PeerId, record: PeerRecord, link: BlockIndex) -> bool:
        search = self._searches.get(link.id)
        return link.work <= record.tip_work and (search is None or peer not in search.tried)

    def _try_all_again(self, left: list[BlockIndex], now: Instant) -> None:
        """Of what nobody is left to ask for, everybody may be asked once more after a while."""
        for link in left:
            search = self._searches.get(link.id)
            if search is not None and search.until <= now and self._was_asked_of_all(search, link):
                search.tried, search.until = (), Instant(now + ASK_AGAIN_MS)

    def _was_asked_of_all(self, search: _Search, link: BlockIndex) -> bool:
        return all(peer in search.tried for peer, record in self._peers.all() if link.work <= record.tip_work)

    def _sources(self, now: Instant) -> list[tuple[PeerId, PeerRecord]]:
        """The peers that may be asked, the most reliable first."""
        records = self._peers.all()
        free = [
            (record.block_requests.owed, record.empty_answers, index)
            for index, (_, record) in enumerate(records)
            if record.block_requests.may_ask(now) and record.asking.has_tokens(1, now)
        ]
        return [records[index] for _, _, index in sorted(free)]

    def _ask(self, peer: PeerId, record: PeerRecord, chosen: list[BlockIndex], now: Instant) -> Send:
        deadline = Instant(now + ANSWER_TIMEOUT_MS)
        record.asking.take(1, now)
        record.block_requests.add(tuple(link.id for link in chosen), now)
        for link in chosen:
            known = self._searches.get(link.id)
            tried = () if known is None else tuple(other for other in known.tried if self._peers.get(other) is not None)
            self._searches[link.id] = _Search(peer, now, deadline, (*tried, peer))
        return Send(peer, encode(GetBlocks(tuple(Place(link.height, link.id) for link in chosen))))


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
