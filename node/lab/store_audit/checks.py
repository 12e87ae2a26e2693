"""Which checkers look at stores: those of the simulator that rows can be shown to, and those that only rows allow.

Among these what members of a total order vouch for. A block says "commit 120 is this digest" and "after commit 96 I had this
state". Honest members never say two things of one commit, whatever lies between; and what they keep on their disks is what they
have vouched for.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass

from consensus.effects import Record
from consensus.proof_of_work.puzzle import is_solved
from consensus.steps import genesis_step
from consensus.total_order.block import BLOCK_CODEC
from consensus.total_order.linearizer import COMMIT_CODEC, commit_digest
from consensus.total_order.records import COMMIT_TABLE, VERTEX_TABLE
from consensus.types import Instant, NetworkId, PeerId
from learning.state import checkpoint_digest, decode_kept_state
from node.lab.checkers.attribution import DeliveredOnce, FoundByItsAuthor, NoHonestBlamed
from node.lab.checkers.finding import Checker, Finding, Seen
from node.lab.checkers.one_history import OneChain, OneOrder, OneState
from node.lab.checkers.one_signature import OneBlockAParent, OneBlockARound, RecordedBeforeSent
from node.lab.checkers.recorded import ProvenBlocks, SignedByMembers, StatesAddUp
from node.lab.checkers.suite import CheckerSuite, Facts
from node.lab.checkers.work import WorkAddsUp
from node.rules.conversion import proof_of_work_rules
from node.rules.network_rules import Consensus, NetworkRules, members_of, network_id
from node.storage.tables import STATE_TABLE

_Subject = tuple[str, int]
"""What is spoken of: ("commit", index) or ("state", index of the commit that it follows)."""


@dataclass(frozen=True, slots=True)
class _Word:
    digest: bytes
    earlier: Seen


class OneWord:
    """Reads every honest member's blocks, in whosever store they lie: they are known to be signed."""

    name = "honest members vouch for one order and for one state after each commit"
    reads = (Record,)

    def __init__(self, network_id: NetworkId, members: tuple[PeerId, ...], honest: Container[bytes]) -> None:
        self._network_id = network_id
        self._members = members
        self._honest = honest
        self._words: dict[_Subject, _Word] = {}

    def see(self, seen: Seen) -> Finding | None:
        """A recorded block, commit, or kept state."""
        match seen.event:
            case Record(table, _, value):
                for subject, digest in self._words_of(table, value):
                    first = self._words.setdefault(subject, _Word(digest, seen))
                    if first.digest != digest:
                        kind, index = subject
                        return Finding(self.name, f"two digests of {kind} {index}", (first.earlier, seen))
        return None

    def _words_of(self, table: str, value: bytes) -> Iterator[tuple[_Subject, bytes]]:
        if table == VERTEX_TABLE:
            yield from self._words_in_block(value)
        elif table == COMMIT_TABLE:
            record = COMMIT_CODEC.decode(value)
            yield ("commit", record.index), commit_digest(self._network_id, record)
        elif table == STATE_TABLE:
            kept = decode_kept_state(value)
            yield ("commit", kept.commit), kept.commit_step
            yield ("state", kept.commit), checkpoint_digest(value)

    def _words_in_block(self, value: bytes) -> Iterator[tuple[_Subject, bytes]]:
        content = BLOCK_CODEC.decode(value).content
        if content.author >= len(self._members) or self._members[content.author] not in self._honest:
            return
        yield ("commit", content.commit.index), content.commit.digest
        if content.checkpoint is not None:
            yield ("commit", content.checkpoint.index), content.checkpoint.digest
            yield ("state", content.checkpoint.index), content.checkpoint.state_digest


def checker_suite(rules: NetworkRules, honest: frozenset[PeerId], peers: int, start: Instant) -> CheckerSuite:
    """Looks at the stores of these honest peers, out of so many."""
    is_work = rules.consensus is Consensus.PROOF_OF_WORK
    facts = Facts(
        network_id=network_id(rules),
        honest=honest,
        peers=peers,
        start=start,
        members=members_of(rules),
        gc_depth=0 if is_work else rules.total_order.gc_depth,
        work_rules=proof_of_work_rules(rules) if is_work else None,
    )

    def choose(facts: Facts, honest: Container[bytes]) -> tuple[Checker, ...]:
        fitting = _of_work(rules, facts) if is_work else _of_members(facts, honest)
        return (StatesAddUp(is_memory_covered=is_work), *fitting, *_common(facts, honest))

    return CheckerSuite(facts, choose)


def _common(facts: Facts, honest: Container[bytes]) -> tuple[Checker, ...]:
    return (
        OneState(is_one_history=facts.work_rules is None),
        DeliveredOnce(honest),
        NoHonestBlamed(honest),
        RecordedBeforeSent(facts.network_id, facts.members),
    )


def _of_members(facts: Facts, honest: Container[bytes]) -> tuple[Checker, ...]:
    network_id, members = facts.network_id, facts.members
    return (
        OneOrder(),
        OneBlockARound(network_id, members, honest),
        OneWord(network_id, members, honest),
        SignedByMembers(network_id, members),
        FoundByItsAuthor(honest),
    )


def _of_work(rules: NetworkRules, facts: Facts) -> tuple[Checker, ...]:
    """Without FoundByItsAuthor: what is found and not listed is in no store. Contributions' signatures stand for it."""
    assert facts.work_rules is not None
    network_id, genesis = facts.network_id, genesis_step(facts.network_id)
    memory_kib = rules.proof_of_work.puzzle_memory_kib

    def is_proven(prefix: bytes, nonce: int, target: int) -> bool:
        """As long as a miner needs for one attempt."""
        return is_solved(prefix, nonce, target, memory_kib)

    return (
        OneChain(genesis),
        OneBlockAParent(network_id),
        WorkAddsUp(network_id, facts.work_rules, genesis),
        ProvenBlocks(network_id, is_proven),
    )
