"""What is recorded, under which keys; and the way back: the same blocks and verdicts give the same head."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from consensus.effects import Effect, Finalise, Record, Replay
from consensus.encoding import CorruptRecordsError, decode_record, encode
from consensus.proof_of_work.block_tree import BlockIndex, BlockTree, genesis_link, header_fault, next_link
from consensus.proof_of_work.chain import Chain
from consensus.proof_of_work.header import BLOCK_CODEC, Block, NamedBlock, header_id, step_of
from consensus.proof_of_work.packed_headers import FinalChain
from consensus.proof_of_work.rules import ProofOfWorkRules
from consensus.steps import Verdict, genesis_step
from consensus.types import DIGEST_BYTES, Height, NetworkId, PeerId, StepId

BLOCK_TABLE = "block"
"""Key: block_key. Value: the canonical block. Written before the block is checked, and once its large payloads are held: so
parents come before children, and payloads before the blocks that name them."""

VERDICT_TABLE = "verdict"
"""Key: block id. Value: the verdict's word."""

FINAL_TABLE = "final"
"""One key. Value: height (8 bytes, big endian) and id of the newest final block, like a block's key."""

FINAL_KEY = b"final"


class BlockArchive(Protocol):
    """Reads what was recorded. A read is quick and changes nothing."""

    def block(self, key: bytes) -> bytes | None:
        """The value recorded in table "block" under this key (see `block_key`), or None."""
        ...


def block_key(height: Height, step: StepId) -> bytes:
    """Height as 8 bytes, big endian, then the id: keys sort by height."""
    return height.to_bytes(8, "big") + step


def record_of_block(named: NamedBlock) -> Record:
    """To be durable before the block is checked."""
    return Record(BLOCK_TABLE, block_key(Height(named.header.height), named.id), encode(named.block))


def record_of_verdict(step: StepId, verdict: Verdict) -> Record:
    """To be durable before anything is built on the block."""
    return Record(VERDICT_TABLE, step, verdict.value.encode())


def record_of_final(link: BlockIndex) -> Record:
    """To be written before the block is called final."""
    return Record(FINAL_TABLE, FINAL_KEY, block_key(link.height, link.id))


def read_block(archive: BlockArchive, height: Height, step: StepId) -> Block | None:
    """A recorded block. Raises CorruptRecordsError when its bytes cannot be read."""
    value = archive.block(block_key(height, step))
    return None if value is None else decode_block(height, step, value)


def decode_block(height: Height, step: StepId, value: bytes) -> Block:
    """The block that was recorded under this height and id. Raises CorruptRecordsError when it cannot be read."""
    return decode_record(BLOCK_CODEC, value, f"block {step.hex()} (height {height})")


def recorded_block(archive: BlockArchive, height: Height, step: StepId) -> Block:
    """A block that must be in the archive. Raises CorruptRecordsError when it is not."""
    block = read_block(archive, height, step)
    if block is None:
        raise CorruptRecordsError(f"block {step.hex()} (height {height}) is missing from the archive")
    return block


REPLAYS_PER_FINALISE = 64
"""While final steps are replayed the learner is told this often that it may forget those before."""

_HEIGHT_BYTES = 8


@dataclass(slots=True)
class Restored:
    """What the records of one peer hold, by block id."""

    network_id: NetworkId
    rules: ProofOfWorkRules
    identity: PeerId
    links: dict[StepId, BlockIndex]
    verdicts: dict[StepId, Verdict]
    own: dict[StepId, None]
    """Blocks that we led."""
    final: StepId


def read_records(
    network_id: NetworkId, rules: ProofOfWorkRules, identity: PeerId, records: Iterable[tuple[str, bytes, bytes]]
) -> Restored:
    """Reads rows sorted by (table, key); other tables are left alone. About 1 kB of memory a block while it lasts.

    Raises CorruptRecordsError when a row cannot be read, or contradicts an earlier one.
    """
    genesis = genesis_link(genesis_step(network_id))
    restored = Restored(network_id, rules, identity, {genesis.id: genesis}, {}, {}, genesis.id)
    for table, key, value in records:
        if table == BLOCK_TABLE:
            _restore_block(restored, key, value)
        elif table == VERDICT_TABLE:
            restored.verdicts[StepId(key)] = _verdict(restored, key, value)
        elif table == FINAL_TABLE:
            restored.final = _final(restored, value)
    return restored


def rebuild_chain(restored: Restored, seed: bytes) -> Chain:
    """The final chain and the tree above it. Raises CorruptRecordsError when a verdict is missing below another."""
    final_path = _final_path(restored)
    final = FinalChain(final_path[0])
    for link in final_path[1:]:
        final.append(link)
    depths = restored.rules.contest_depths
    forgiven = (depths.forgiven_at(link.height, restored.verdicts.get(link.id)) for link in final_path)
    forgiven_at = max((height for height in forgiven if height is not None), default=None)
    tree = BlockTree(final_path[-1], depths, seed, forgiven_at)
    for link in restored.links.values():
        if link.height > tree.root.height and link.parent in tree and tree.insert(link):
            tree.give_body(link.id)
            _restore_verdict(restored, tree, link)
    return Chain(final, tree)


def replay_height(chain: Chain, replay_from: StepId | None) -> Height:
    """Where to replay from (None: genesis). Raises CorruptRecordsError when the step is not final by the records."""
    if replay_from is None:
        return Height(0)
    height = chain.final.height_of(replay_from)
    if height is None:
        raise CorruptRecordsError(f"the kept state is of step {replay_from.hex()}, which is not final by the records")
    return height


def replays(chain: Chain, archive: BlockArchive, above: Height) -> Iterator[Effect]:
    """All checked blocks above this final height, parents first. Raises CorruptRecordsError."""
    for height in range(above + 1, chain.final.height + 1):
        step = chain.final.id_at(height)
        yield Replay(step_of(step, recorded_block(archive, Height(height), step)))
        if height % REPLAYS_PER_FINALISE == 0:
            yield Finalise(step, Height(height))
    for link in chain.tree.links()[1:]:
        if chain.tree.is_checked(link.id):
            yield Replay(step_of(link.id, recorded_block(archive, link.height, link.id)))


def _restore_block(restored: Restored, key: bytes, value: bytes) -> None:
    height, step = _place(BLOCK_TABLE, key)
    header = decode_block(height, step, value).header
    if header_id(restored.network_id, header) != step or header.height != height:
        raise CorruptRecordsError(f"record of block {step.hex()} (height {height}) holds another block")
    parent = restored.links.get(StepId(header.parent))
    if parent is None:
        raise CorruptRecordsError(f"block {step.hex()} (height {height}): its parent {header.parent.hex()} is not recorded")
    fault = header_fault(parent, header, restored.rules)
    if fault is not None:
        raise CorruptRecordsError(f"block {step.hex()} (height {height}): {fault[1]}")
    restored.links[step] = next_link(parent, step, header, restored.rules)
    if header.leader == restored.identity:
        restored.own[step] = None


def _verdict(restored: Restored, key: bytes, value: bytes) -> Verdict:
    if StepId(key) not in restored.links:
        raise CorruptRecordsError(f"verdict on block {key.hex()}, which is not recorded")
    try:
        return Verdict(value.decode())
    except ValueError as error:
        raise CorruptRecordsError(f"verdict on block {key.hex()} is {value!r}, allowed: {', '.join(Verdict)}") from error


def _final(restored: Restored, value: bytes) -> StepId:
    height, step = _place(FINAL_TABLE, value)
    link = restored.links.get(step)
    if link is None or link.height != height:
        raise CorruptRecordsError(f"the final block {step.hex()} (height {height}) is not recorded")
    return step


def _place(table: str, packed: bytes) -> tuple[Height, StepId]:
    if len(packed) != _HEIGHT_BYTES + DIGEST_BYTES:
        raise CorruptRecordsError(f"table {table}: a height and an id of {len(packed)} bytes, allowed: 40")
    return Height(int.from_bytes(packed[:_HEIGHT_BYTES], "big")), StepId(packed[_HEIGHT_BYTES:])


def _final_path(restored: Restored) -> list[BlockIndex]:
    """From genesis to the final block."""
    link = restored.links[restored.final]
    path = [link]
    while link.height > 0:
        if restored.verdicts.get(link.id) not in (Verdict.GOOD, Verdict.CONTESTED, Verdict.REFUTED):
            raise CorruptRecordsError(f"block {link.id.hex()} (height {link.height}) is final, but was not found good")
        link = restored.links[link.parent]
        path.append(link)
    path.reverse()
    return path


def _restore_verdict(restored: Restored, tree: BlockTree, link: BlockIndex) -> None:
    verdict = restored.verdicts.get(link.id)
    if verdict is None:
        return
    if not tree.is_checked(link.parent):
        raise CorruptRecordsError(f"verdict on block {link.id.hex()} (height {link.height}), but none on its parent")
    tree.judge(link.id, verdict)
