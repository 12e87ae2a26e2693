"""Catching up with peers that have more work: headers first, then bodies, from several peers at once.

All requests are bounded and have a deadline; what one peer does not answer is asked of another.
"""

from consensus.encoding import encode
from consensus.faults import Offence
from consensus.proof_of_work.block_tree import Standing
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.intake import Fate, Intake
from consensus.proof_of_work.link import Link
from consensus.proof_of_work.messages import HEADERS_MAX, Blocks, GetBlocks, GetHeaders, Headers, Place, Tip
from consensus.proof_of_work.peers import LONG_AGO, PeerRecord, Peers
from consensus.proof_of_work.staging import STAGED_MAX, STAGED_PER_PEER_MAX
from consensus.protocol import Effect, Refuse, Send
from consensus.types import Instant, PeerId, StepId
from consensus.wanted import Wanted

HEADERS_AHEAD_MAX = 1_024
"""Headers above the final block that are fetched before bodies must follow: half of what the tree holds."""

ANSWER_TIMEOUT_MS = 5_000
"""A full answer of 256 kB over a slow home link, and a busy peer."""

BACK_OFF_DOUBLINGS_MAX = 6
"""A peer that claims more work and never shows it is asked about once a minute."""

BACK_OFF_MS = 1_000

OWED_MAX = 3
"""A peer that has left so many requests of one kind unanswered is not asked again."""

BODIES_PER_REQUEST = 16
"""Small requests spread over many peers."""

BODIES_WAITING_MAX = 128
"""Bodies that wait for their payloads and their check: the learner takes one after the other. 4 MB at most."""

LAG_BLOCKS = 8
"""So far behind, a block of our own would only be a burden to others."""

CLAIMS_COUNT_MS = 10_000
"""So long after the start a mere claim of a longer chain keeps us from leading; later it would let a liar stop us."""

Effects = tuple[Effect, ...]


class Synchroniser:
    """Knows what to ask of whom."""

    def __init__(self, chain: Chain, intake: Intake, peers: Peers, wanted: Wanted) -> None:
        self._chain = chain
        self._intake = intake
        self._peers = peers
        self._wanted = wanted
        self._in_flight: dict[StepId, Instant] = {}
        """Bodies that are asked for, and until when."""
        self._attempts: dict[StepId, int] = {}
        self._claims_count_until = LONG_AGO

    def start(self, now: Instant) -> None:
        """Called once: a peer that starts may be far behind."""
        self._claims_count_until = Instant(now + CLAIMS_COUNT_MS)

    def is_catching_up(self, now: Instant) -> bool:
        """Whether others are far ahead, by headers that we hold or are waiting for."""
        near = self._chain.tree.head.height + LAG_BLOCKS
        if self._intake.staging.height_max > near or any(link.height > near for link, _ in self._coming()):
            return True
        if now >= self._claims_count_until:
            return False
        return any(record.tip_height > near and record.header_requests.is_pending(now) for _, record in self._peers.all())

    def target_height(self) -> int:
        """The greatest height that a peer claims, or that we have headers of."""
        claimed = (record.tip_height for _, record in self._peers.all())
        return max((self._chain.tree.heaviest().height, self._intake.staging.height_max, *claimed))

    def take_tip(self, record: PeerRecord, tip: Tip, now: Instant) -> Effects:
        """A peer says what it builds on."""
        record.tip_work, record.tip_height = int.from_bytes(tip.work, "big"), tip.height
        return self.seek(now)

    def take_headers(self, peer: PeerId, record: PeerRecord, answer: Headers, now: Instant) -> Effects:
        """The answer to a request for headers."""
        if record.header_requests.owed == 0:
            return (Refuse(peer, Offence.UNSOLICITED, f"{len(answer.headers)} headers"),)
        record.header_requests.owed -= 1
        record.headers_asked_after = None
        pairs = zip(answer.headers, answer.headers[1:], strict=False)
        if any(later.parent != self._intake.id_of(earlier) for earlier, later in pairs):
            return (Refuse(peer, Offence.MALFORMED, "headers do not follow one another"),)
        effects, news = self._stage_all(peer, record, answer, now)
        if news > 0:
            record.fruitless, record.ask_again_at = 0, now
        if len(answer.headers) < HEADERS_MAX:
            record.tip_work = min(record.tip_work, self._work_shown(answer))
        elif news > 0:
            last = answer.headers[-1]
            record.headers_asked_after = Place(last.height, self._intake.id_of(last))
        return effects + self.seek(now)

    def take_blocks(self, peer: PeerId, record: PeerRecord, answer: Blocks, now: Instant) -> Effects:
        """The answer to a request for blocks."""
        steps = tuple(self._intake.id_of(block.header) for block in answer.blocks)
        foreign = [step for step in steps if step not in record.blocks_asked]
        if record.block_requests.owed == 0 or foreign:
            return (Refuse(peer, Offence.UNSOLICITED, f"{len(answer.blocks)} blocks, {len(foreign)} never asked for"),)
        record.block_requests.owed -= 1
        record.empty_answers = 0 if steps else record.empty_answers + 1
        effects: Effects = ()
        for block in answer.blocks:
            effects += self._intake.take_body(peer, block)
        if record.block_requests.owed == 0:
            for step in record.blocks_asked:
                self._in_flight.pop(step, None)
            record.blocks_asked.clear()
        return effects + self.seek(now)

    def ask_about_orphan(self, peer: PeerId, record: PeerRecord, now: Instant) -> Effects:
        """A peer has pushed a block whose parent we do not know: it has the headers in between."""
        if record.header_requests.owed > 0 or now < record.ask_again_at or not self._has_room_for_headers(peer):
            return ()
        return (self._ask_headers(peer, record, now),)

    def seek(self, now: Instant) -> Effects:
        """Ask for what is missing, as far as the bounds allow."""
        return self._seek_headers(now) + self._seek_bodies(now)

    def forget_dead(self) -> None:
        """Drop what is noted of blocks that are no longer in the tree."""
        tree = self._chain.tree
        self._attempts = {step: count for step, count in self._attempts.items() if step in tree}
        self._in_flight = {step: until for step, until in self._in_flight.items() if step in tree}

    def _stage_all(self, peer: PeerId, record: PeerRecord, answer: Headers, now: Instant) -> tuple[Effects, int]:
        effects: Effects = ()
        news = 0
        for header in answer.headers:
            if self._intake.is_new(header):
                record.headers.spend(now)
            fate, more = self._intake.take_header(peer, header, None, now)
            effects += more
            news += fate is Fate.STAGED
            if fate not in (Fate.STAGED, Fate.KNOWN):
                break
        return effects, news

    def _work_shown(self, answer: Headers) -> int:
        """What a peer that has no further headers can have, whatever its tip claimed."""
        heaviest = self._chain.tree.heaviest().work
        staged = self._intake.staging.get(self._intake.id_of(answer.headers[-1])) if answer.headers else None
        return heaviest if staged is None else max(heaviest, staged.link.work)

    def _seek_headers(self, now: Instant) -> Effects:
        if self._peers.heaviest_tip <= self._chain.tree.head.work:
            return ()
        records = self._peers.all()
        if any(record.header_requests.is_pending(now) for _, record in records):
            return ()
        known = (self._chain.tree.head, *(link for link, _ in self._coming()))
        known_work = max(self._intake.staging.work_max, *(link.work for link in known))
        candidates = [
            (record.fruitless, index)
            for index, (peer, record) in enumerate(records)
            if record.tip_work > known_work
            and now >= record.ask_again_at
            and record.header_requests.owed < OWED_MAX
            and record.headers.has_tokens(HEADERS_MAX, now)
            and self._has_room_for_headers(peer)
        ]
        if not candidates:
            return ()
        peer, record = records[min(candidates)[1]]
        return (self._ask_headers(peer, record, now),)

    def _has_room_for_headers(self, peer: PeerId) -> bool:
        staging, tree = self._intake.staging, self._chain.tree
        height = max(tree.heaviest().height, staging.height_max)
        is_near = height - tree.root.height < HEADERS_AHEAD_MAX
        has_room = len(staging) + HEADERS_MAX <= STAGED_MAX
        return is_near and has_room and staging.count_from(peer) + HEADERS_MAX <= STAGED_PER_PEER_MAX

    def _ask_headers(self, peer: PeerId, record: PeerRecord, now: Instant) -> Send:
        """Counts as fruitless until the answer shows otherwise."""
        deadline = Instant(now + ANSWER_TIMEOUT_MS)
        record.header_requests.sent(deadline)
        record.ask_again_at = Instant(deadline + (BACK_OFF_MS << min(record.fruitless, BACK_OFF_DOUBLINGS_MAX)))
        record.fruitless += 1
        after = () if record.headers_asked_after is None else (record.headers_asked_after,)
        return Send(peer, encode(GetHeaders(after + self._chain.locator())))

    def _seek_bodies(self, now: Instant) -> Effects:
        bodiless = self._chain.tree.with_standing(Standing.BODILESS)
        wanted = [link for link in bodiless if self._in_flight.get(link.id, now) <= now]
        if not wanted:
            return ()
        room = BODIES_WAITING_MAX - sum(standing is Standing.UNCHECKED for _, standing in self._coming())
        wanted.sort(key=lambda link: (self._attempts.get(link.id, 0), link.height, link.id))
        effects: list[Effect] = []
        for peer, record in self._body_sources(now):
            chosen = [link for link in wanted[: max(0, room)] if link.work <= record.tip_work][:BODIES_PER_REQUEST]
            if chosen:
                effects.append(self._ask_bodies(peer, record, chosen, now))
                wanted = [link for link in wanted if link not in chosen]
                room -= len(chosen)
        return tuple(effects)

    def _coming(self) -> list[tuple[Link, Standing]]:
        """The blocks that may still be checked: not those with a payload that nobody seems to have, nor what follows them."""
        tree = self._chain.tree
        stalled: set[StepId] = set()
        coming: list[tuple[Link, Standing]] = []
        for link in tree.undecided():  # parents before children
            standing = tree.standing(link.id)
            assert standing is not None, "what is undecided is in the tree"
            if link.parent in stalled or self._wanted.is_stalled(link.id):
                stalled.add(link.id)
            else:
                coming.append((link, standing))
        return coming

    def _body_sources(self, now: Instant) -> list[tuple[PeerId, PeerRecord]]:
        """The peers that may be asked, the most reliable first."""
        free = [
            (record.block_requests.owed, record.empty_answers, index)
            for index, (_, record) in enumerate(self._peers.all())
            if not record.block_requests.is_pending(now) and record.block_requests.owed < OWED_MAX
        ]
        return [self._peers.all()[index] for _, _, index in sorted(free)]

    def _ask_bodies(self, peer: PeerId, record: PeerRecord, chosen: list[Link], now: Instant) -> Send:
        deadline = Instant(now + ANSWER_TIMEOUT_MS)
        record.block_requests.sent(deadline)
        for link in chosen:
            self._in_flight[link.id] = deadline
            self._attempts[link.id] = self._attempts.get(link.id, 0) + 1
            record.blocks_asked[link.id] = None
        return Send(peer, encode(GetBlocks(tuple(Place(link.height, link.id) for link in chosen))))
