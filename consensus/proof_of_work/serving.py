"""Answers to peers that sync from us, out of what we have recorded. Each answer is bounded."""

from consensus.encoding import encode
from consensus.proof_of_work.archive import BlockArchive, read_block
from consensus.proof_of_work.block_tree import Standing
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.final_chain import WORK_BYTES
from consensus.proof_of_work.header import Block, Header
from consensus.proof_of_work.messages import BLOCKS_BYTES_MAX, HEADERS_MAX, Blocks, GetBlocks, GetHeaders, Headers, Tip
from consensus.types import Height, StepId


class Serving:
    """Reads the main chain and the archive."""

    def __init__(self, chain: Chain, archive: BlockArchive) -> None:
        self._chain = chain
        self._archive = archive

    def tip(self) -> Tip:
        """What we build on."""
        head = self._chain.tree.head
        return Tip(head.id, head.height, head.work.to_bytes(WORK_BYTES, "big"))

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
        blocks: list[Block] = []
        size = 0
        for place in request.places:
            step = StepId(place.id)
            block = read_block(self._archive, Height(place.height), step)
            if block is None or self._chain.tree.standing(step) is Standing.INVALID:
                continue
            size += len(encode(block))
            if size > BLOCKS_BYTES_MAX:
                break
            blocks.append(block)
        return Blocks(tuple(blocks))
