"""Which checkers look at stores: those of the simulator that rows can be shown to, and those that only rows allow."""

from collections.abc import Container

from consensus.proof_of_work.puzzle import is_solved
from consensus.steps import genesis_step
from consensus.types import Instant, PeerId
from node.lab.checkers.attribution import DeliveredOnce, FoundByItsAuthor
from node.lab.checkers.durable import RecordedBeforeSent
from node.lab.checkers.false_accusations import NoHonestBlamed
from node.lab.checkers.finding import Checker
from node.lab.checkers.models import StatesAddUp
from node.lab.checkers.one_chain import OneChain
from node.lab.checkers.one_order import OneOrder
from node.lab.checkers.one_signature import OneBlockAParent, OneBlockARound
from node.lab.checkers.one_state import OneState
from node.lab.checkers.signatures import ProvenBlocks, SignedByMembers
from node.lab.checkers.suite import CheckerSuite, Facts
from node.lab.checkers.work import WorkAddsUp
from node.lab.store_audit.attestations import OneWord
from node.rules.conversion import proof_of_work_rules
from node.rules.network_rules import Consensus, NetworkRules, members_of, network_id


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
