"""Getting the bodies of proven blocks: the lowest missing one first, in batches, from several peers at once.

A body that nobody gives within STALLED_MS is stalled (see `head_candidates`); it is asked for again now and then, and any
arrival brings its branch back.
"""

from dataclasses import dataclass

from consensus.effects import Effect, Send
from consensus.encoding import encode
from consensus.proof_of_work.block_index import BlockIndex
from consensus.proof_of_work.block_tree import BlockStatus
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.head_candidates import HeadCandidates
from consensus.proof_of_work.messages import GetBlocks, Place
from consensus.proof_of_work.peers import ANSWER_TIMEOUT_MS, PeerRecord, Peers
from consensus.types import Instant, PeerId, StepId

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
