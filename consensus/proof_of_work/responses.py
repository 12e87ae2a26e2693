"""What peers that sync from us get: our tip, and answers out of our records. Each is bounded, and each peer has a budget."""

from consensus.effects import Effect, Offence, Refuse, Send
from consensus.encoding import encode, fitting
from consensus.proof_of_work.block_tree import BlockStatus
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.header import Block, Header
from consensus.proof_of_work.messages import (
    BLOCKS_BYTES_MAX,
    HEADERS_MAX,
    Blocks,
    Busy,
    GetBlocks,
    GetHeaders,
    Headers,
    Place,
    Tip,
)
from consensus.proof_of_work.packed_headers import WORK_BYTES
from consensus.proof_of_work.peers import PeerRecord, Peers
from consensus.proof_of_work.records import BlockArchive, read_block
from consensus.rate_limit import Spending
from consensus.types import Height, Instant, PeerId, StepId

TIP_MS = 5_000
"""How often peers are told of a head that has changed, so that one who missed a block asks for it."""


class Responses:
    """Reads the main chain and the archive."""

    def __init__(self, chain: Chain, archive: BlockArchive, peers: Peers) -> None:
        self._chain = chain
        self._archive = archive
        self._peers = peers
        self._tip_told = chain.tree.head.id
        self._tip_told_at = Instant(0)

    def answer(self, peer: PeerId, record: PeerRecord, request: GetHeaders | GetBlocks, now: Instant) -> Effect:
        """What the peer gets; that we are busy, where it has asked too much."""
        match record.requests.spend(now):
            case Spending.FLOODING:
                return Refuse(peer, Offence.FLOODING, "requests for headers and blocks")
            case Spending.OVERDRAWN:
                return Send(peer, encode(Busy(isinstance(request, GetBlocks))))
            case Spending.COVERED:
                answer = self.headers(request) if isinstance(request, GetHeaders) else self.blocks(request)
                return Send(peer, encode(answer))

    def tip(self) -> Tip:
        """The message that tells what we build on."""
        head = self._chain.tree.head
        return Tip(head.id, head.height, head.work.to_bytes(WORK_BYTES, "big"))

    def tell_tip(self, now: Instant) -> tuple[Effect, ...]:
        """Tell all peers of our head, if it has changed since they were last told, and that was long enough ago."""
        head = self._chain.tree.head.id
        if head == self._tip_told or now - self._tip_told_at < TIP_MS:
            return ()
        self._tip_told, self._tip_told_at = head, now
        tip = encode(self.tip())
        return tuple(Send(peer, tip) for peer, _ in self._peers.all())

    def headers(self, request: GetHeaders) -> Headers:
        """Up to HEADERS_MAX headers of our main chain after the first place that lies on it."""
        known = next((place.height for place in request.locator if self._chain.is_main(place)), 0)
        headers: list[Header] = []
        for height in range(known + 1, min(known + HEADERS_MAX, self._chain.head_height) + 1):
            block = read_block(self._archive, Height(height), self._chain.main_id(Height(height)))
            if block is None:  # on its way to the disk
                break
            headers.append(block.header)
        return Headers(tuple(headers))

    def blocks(self, request: GetBlocks) -> Blocks:
        """Those of the blocks that we have, as long as they fit."""
        found = (self._block_at(place) for place in request.places)
        return Blocks(fitting((block for block in found if block is not None), BLOCKS_BYTES_MAX))

    def _block_at(self, place: Place) -> Block | None:
        is_invalid = self._chain.tree.status(StepId(place.id)) is BlockStatus.INVALID
        return None if is_invalid else read_block(self._archive, Height(place.height), StepId(place.id))
