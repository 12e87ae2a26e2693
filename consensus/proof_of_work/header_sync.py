"""Catching up with peers that have more work: headers first, then bodies (`block_download`), from several peers at once.

All requests are bounded and have a deadline; what one peer does not answer is asked of another. A claim decides whom we ask,
and nothing else: what counts is proven (docs/protocol.md, 5).
"""

import itertools

from consensus.effects import Effect, Offence, Refuse, Send
from consensus.encoding import encode
from consensus.proof_of_work.block_download import Audit, BlockDownload
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.head_candidates import HeadCandidates
from consensus.proof_of_work.header import NamedHeader, name_block, name_header
from consensus.proof_of_work.messages import HEADERS_MAX, Blocks, Busy, GetHeaders, Headers, Place, Tip
from consensus.proof_of_work.peers import (
    ANSWER_TIMEOUT_MS,
    LONG_AGO,
    PATIENCE_EARNED_MS,
    PATIENCE_MS,
    PeerRecord,
    Peers,
    Requests,
)
from consensus.proof_of_work.validation import HeaderAcceptance, Validation
from consensus.types import Instant, NetworkId, PeerId, StepId

BACK_OFF_DOUBLINGS_MAX = 6
"""A peer that claims more work and never shows it is asked about once a minute."""

BACK_OFF_MS = 1_000

BUSY_MS = 1_000
"""A peer that says that it is busy is asked again after so long: it grants a dozen requests a second."""

VERIFYING_MS = 30_000
"""So long a newcomer waits for the puzzles of an answer to be verified: 384 headers take 6 s of a busy core."""

COVERED_MS = 2_000
"""While one peer's headers are being verified nobody else is asked for the same ones, unless none was proven for so long."""

LIGHT_MS = 2_000
"""Who has shown a branch far behind our head is asked again after so long: it may catch up."""

ANSWERS_A_TURN = 4
"""So many quick answers in a row, and others are asked for a while: who has much to show does not keep the rest waiting."""

Effects = tuple[Effect, ...]


class HeaderSync:
    """Knows what to ask of whom."""

    def __init__(
        self, network_id: NetworkId, chain: Chain, validation: Validation, candidates: HeadCandidates, peers: Peers
    ) -> None:
        self._network_id = network_id
        self._chain = chain
        self._validation = validation
        self._candidates = candidates
        self._peers = peers
        self._block_download = BlockDownload(chain, candidates, peers)
        self.audit = Audit(chain, validation, candidates, peers)
        self._progress_at = LONG_AGO
        """When headers have last come, or were last proven."""

    def is_fetching_headers(self, now: Instant) -> bool:
        """Whether a peer claims more work than is proven, and is showing it. Its patience bounds how long that counts."""
        known = self._candidates.work_known
        return self._chain.ahead.has_room and any(
            record.tip_work > known and record.patience_ms > 0 and self._is_showing(record, now)
            for _, record in self._peers.all()
        )

    def on_proven(self, source: PeerId, now: Instant) -> None:
        """A header was proven, and is of use."""
        self._peers.note_proven(source)
        self._progress_at = now

    def target_height(self) -> int:
        """The greatest height that is proven, or of our head."""
        return max(self._candidates.heaviest.height, self._chain.tree.head.height)

    def take_tip(self, record: PeerRecord, tip: Tip, now: Instant) -> Effects:
        """A peer says what it builds on."""
        record.tip_work, record.tip_height = int.from_bytes(tip.work, "big"), tip.height
        return self.seek(now)

    def take_headers(self, peer: PeerId, record: PeerRecord, answer: Headers, now: Instant) -> Effects:
        """The answer to a request for headers."""
        if record.header_requests.on_answer() is None:
            return _refuse_unasked(peer, record.header_requests, f"{len(answer.headers)} headers")
        waited_ms = max(0, now - record.header_requests.asked_at)
        record.turns += 1 + waited_ms // 1000
        record.patience_ms -= waited_ms
        record.headers_asked_after = None
        headers = tuple(name_header(self._network_id, header) for header in answer.headers)
        if any(later.header.parent != earlier.id for earlier, later in itertools.pairwise(headers)):
            return (Refuse(peer, Offence.MALFORMED, "headers do not follow one another"),)
        effects, news = self._stage_all(peer, record, headers, now)
        self._note_progress(record, headers, news, now)
        return effects + self.seek(now)

    def take_blocks(self, peer: PeerId, record: PeerRecord, answer: Blocks, now: Instant) -> Effects:
        """The answer to a request for blocks."""
        blocks = tuple(name_block(self._network_id, block) for block in answer.blocks)
        steps = tuple(block.id for block in blocks)
        asked = record.block_requests.on_answer(steps)
        if asked is None:
            detail = f"{len(answer.blocks)} blocks that were never asked for together"
            return _refuse_unasked(peer, record.block_requests, detail)
        record.empty_answers = 0 if steps else record.empty_answers + 1
        effects: Effects = ()
        for block in blocks:
            if self.audit.wants(block):
                effects += self.audit.take(peer, block, now)
            else:
                effects += self._validation.take_body(peer, block)
        self._block_download.on_answer(peer, asked, steps, now)
        return effects + self.seek(now)

    def take_busy(self, peer: PeerId, record: PeerRecord, answer: Busy, now: Instant) -> Effects:
        """A peer does not answer a request, since we have asked too much of it."""
        requests = record.block_requests if answer.is_about_blocks else record.header_requests
        asked = requests.on_answer()
        if asked is None:
            return _refuse_unasked(peer, requests, "is busy, though nothing was asked of it")
        requests.not_before = Instant(now + BUSY_MS)
        if answer.is_about_blocks:
            self._block_download.on_busy(peer, asked, now)
        return self.seek(now)

    def ask_about_orphan(self, peer: PeerId, record: PeerRecord, now: Instant) -> Effects:
        """A peer has pushed a block whose parent we do not know: it has the headers in between."""
        is_allowed = record.header_requests.owed == 0 and now >= record.ask_again_at and record.asking.has_tokens(1, now)
        if not is_allowed or not self._validation.has_room_for_headers(peer):
            return ()
        return (self._ask_headers(peer, record, now),)

    def seek(self, now: Instant) -> Effects:
        """Ask for what is missing, as far as the bounds allow."""
        self._chain.place(self._candidates.lost)
        return self._seek_headers(now) + self._block_download.seek(now) + self.audit.seek(now)

    def forget_dead(self) -> None:
        """Drop what is noted of blocks that are no longer in the tree."""
        self._block_download.forget_dead()

    def _is_showing(self, record: PeerRecord, now: Instant) -> bool:
        """Whether its headers are on their way, or are being verified, or will be asked for when it is their turn."""
        if record.header_requests.is_pending(now):
            return True
        is_waiting = self._work_staged(record) == 0 or now < record.header_requests.asked_at + VERIFYING_MS
        return record.fruitless == 0 and is_waiting

    def _stage_all(
        self, peer: PeerId, record: PeerRecord, headers: tuple[NamedHeader, ...], now: Instant
    ) -> tuple[Effects, int]:
        effects: Effects = ()
        news: list[StepId] = []
        is_whole = len(headers) < HEADERS_MAX
        for named in headers:
            acceptance, more = self._validation.take_header(peer, named, None, now, is_asked=True)
            effects += more
            if acceptance is HeaderAcceptance.STAGED:
                news.append(named.id)
            if acceptance not in (HeaderAcceptance.STAGED, HeaderAcceptance.KNOWN):
                is_whole = is_whole or acceptance is HeaderAcceptance.EARLY
                break
        if is_whole and news and self._validation.discard_light(news[0]):
            record.fruitless, record.ask_again_at = 0, Instant(now + LIGHT_MS)
            return effects, 0
        return effects, len(news)

    def _note_progress(self, record: PeerRecord, headers: tuple[NamedHeader, ...], news: int, now: Instant) -> None:
        if news > 0:
            record.fruitless, record.ask_again_at, self._progress_at = 0, now, now
        if headers:
            record.shown = headers[-1].id
        if len(headers) < HEADERS_MAX:
            record.tip_work = min(record.tip_work, self._work_shown(headers))
        elif news > 0:
            record.headers_asked_after = Place(headers[-1].header.height, headers[-1].id)
            if news == HEADERS_MAX:
                record.patience_ms = min(PATIENCE_MS, record.patience_ms + PATIENCE_EARNED_MS)

    def _work_shown(self, headers: tuple[NamedHeader, ...]) -> int:
        """What a peer that has no further headers can have, whatever its tip claimed."""
        return max(self._candidates.work_known, self._validation.work_staged(headers[-1].id) if headers else 0)

    def _work_staged(self, record: PeerRecord) -> int:
        """Of the last header that the peer has shown, while that waits to be verified."""
        return 0 if record.shown is None else self._validation.work_staged(record.shown)

    def _seek_headers(self, now: Instant) -> Effects:
        if self._peers.heaviest_tip <= self._chain.tree.head.work:
            return ()
        records = self._peers.all()
        if any(record.header_requests.is_pending(now) for _, record in records):
            return ()
        known_work = self._candidates.work_known
        candidates = [
            (self._peers.last_vain_request_at(record), record.fruitless, record.turns // ANSWERS_A_TURN, index)
            for index, (peer, record) in enumerate(records)
            if record.tip_work > max(known_work, self._work_staged(record))
            and now >= record.ask_again_at
            and record.header_requests.may_ask(now)
            and record.asking.has_tokens(1, now)
            and self._validation.has_room_for_headers(peer)
            and not self._is_covered(peer, now)
        ]
        if not candidates:
            return ()
        peer, record = records[min(candidates)[-1]]
        return (self._ask_headers(peer, record, now),)

    def _is_covered(self, peer: PeerId, now: Instant) -> bool:
        """Whether others have just given headers that are still being verified: they may be the same ones."""
        return now < self._progress_at + COVERED_MS and self._validation.has_asked_of_others(peer)

    def _ask_headers(self, peer: PeerId, record: PeerRecord, now: Instant) -> Send:
        """Counts as fruitless until the answer shows otherwise."""
        record.asking.take(1, now)
        record.header_requests.add((), now)
        deadline = now + ANSWER_TIMEOUT_MS
        record.ask_again_at = Instant(deadline + (BACK_OFF_MS << min(record.fruitless, BACK_OFF_DOUBLINGS_MAX)))
        self._peers.note_headers_asked(record, now)
        after = () if record.headers_asked_after is None else (record.headers_asked_after,)
        return Send(peer, encode(GetHeaders(after + self._chain.locator(self._candidates.heaviest))))


def _refuse_unasked(peer: PeerId, requests: Requests, what: str) -> Effects:
    """Nobody is refused for an answer that was asked for over an earlier connection."""
    return () if requests.forgive() else (Refuse(peer, Offence.UNSOLICITED, what),)
