"""The part of the main chain that is never undone, packed: 96 bytes a block, about 8 MB a day at one block a second."""

import struct

from consensus.proof_of_work.block_index import MEDIAN_BLOCKS, BlockIndex
from consensus.types import Height, StepId

WORK_BYTES = 40
"""2**256 hashes in each of 2**64 blocks."""

_RECORD = struct.Struct(f">32sqqq{WORK_BYTES}s")


class FinalChain:
    """Links by height, from genesis on; only ever appended to."""

    def __init__(self, genesis: BlockIndex) -> None:
        self._packed = bytearray()
        self._pack(genesis)

    @property
    def height(self) -> Height:
        """The height of the newest final block."""
        return Height(len(self._packed) // _RECORD.size - 1)

    def append(self, link: BlockIndex) -> None:
        """Make the next block final."""
        assert link.height == self.height + 1, f"block of height {link.height} after {self.height}"
        assert link.parent == self.id_at(self.height), f"block {link.id.hex()} does not follow the final one"
        self._pack(link)

    def id_at(self, height: int) -> StepId:
        """The final block at a height from 0 to `self.height`."""
        return StepId(self._record(height)[0])

    def has_at(self, height: int, step: StepId) -> bool:
        """Whether this very block is final."""
        return 0 <= height <= self.height and self.id_at(height) == step

    def height_of(self, step: StepId) -> Height | None:
        """Where the block is; looks at all of them, newest first."""
        return next((Height(height) for height in range(self.height, -1, -1) if self.id_at(height) == step), None)

    def link_at(self, height: int) -> BlockIndex:
        """The link at a height from 0 to `self.height`, as it was when it was appended."""
        step, time_ms, latest_ms, elapsed_ms, work = self._record(height)
        first_timed = max(1, height - MEDIAN_BLOCKS + 1)
        times = tuple(self._record(earlier)[1] for earlier in range(first_timed, height + 1))
        return BlockIndex(
            StepId(step),
            self.id_at(max(0, height - 1)),
            Height(height),
            time_ms,
            latest_ms,
            elapsed_ms,
            int.from_bytes(work, "big"),
            times,
        )

    def _pack(self, link: BlockIndex) -> None:
        work = link.work.to_bytes(WORK_BYTES, "big")
        self._packed += _RECORD.pack(link.id, link.time_ms, link.latest_ms, link.elapsed_ms, work)

    def _record(self, height: int) -> tuple[bytes, int, int, int, bytes]:
        step, time_ms, latest_ms, elapsed_ms, work = _RECORD.unpack_from(self._packed, height * _RECORD.size)
        return step, time_ms, latest_ms, elapsed_ms, work
