"""Which leader blocks are committed: read off the graph, alike at every member (docs/protocol.md, 6).

The rule is Mysticeti's (Babel et al., "Mysticeti: Reaching the Limits of Latency with Uncertified DAGs", 2023), one leader a
round, pipelined. Vote and certificate of a block are a matter of its history alone, so each is worked out once, at acceptance.
"""

from dataclasses import dataclass, field
from enum import Enum

from consensus.total_order.committee import Committee
from consensus.total_order.dag import Dag, Vertex
from consensus.types import Digest


class DecisionRule(Enum):
    """How a slot was decided."""

    DIRECT_COMMIT = "direct commit"
    DIRECT_SKIP = "direct skip"
    INDIRECT_COMMIT = "indirect commit"
    INDIRECT_SKIP = "indirect skip"


@dataclass(frozen=True, slots=True)
class LeaderStatus:
    """What becomes of the slot of one round's leader."""

    round: int
    rule: DecisionRule
    leader: Vertex | None
    """The block that is committed; None: the slot is skipped."""


@dataclass(slots=True)
class LeaderSlot:
    """What the blocks of later rounds say of one leader's slot; every int is a set of members."""

    votes: dict[Digest, int] = field(default_factory=dict)
    """By leader block: who votes for it, among the blocks of the next round."""
    blames: int = 0
    """Who has a block of the next round with no vote for any block of the slot."""
    certificates: dict[Digest, int] = field(default_factory=dict)
    """By leader block: who has a certificate for it, two rounds later."""
    status: LeaderStatus | None = None
    """By the direct rule."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What cannot be with at most f faulty members."""

    round: int
    detail: str


class CommitRule:
    """Follows the graph as blocks are accepted, and decides slot after slot, from round 1 on."""

    def __init__(self, committee: Committee, dag: Dag) -> None:
        self._committee = committee
        self._dag = dag
        self.cursor = 1
        """The first round that is not decided yet."""
        self.contradiction: Contradiction | None = None
        self._slots: dict[int, LeaderSlot] = {}
        self._has_news = False

    def helps_to_decide(self, round_number: int) -> bool:
        """Whether a quorum of blocks already votes for one block of this round's slot, or a quorum votes for none."""
        slot = self._slots.get(round_number)
        if slot is None:
            return round_number < self.cursor
        is_quorum = self._committee.is_quorum
        return is_quorum(slot.blames) or any(is_quorum(voters) for voters in slot.votes.values())

    def add(self, vertex: Vertex) -> None:
        """Take in a block; its parents were taken in before."""
        if vertex.round - 1 >= self.cursor:
            self._note_vote(vertex, vertex.round - 1)
        if vertex.round - 2 >= self.cursor:
            self._note_certificate(vertex, vertex.round - 2)

    def decide(self) -> list[LeaderStatus]:
        """The decisions that follow the last ones told, in order of rounds; the cursor moves behind them."""
        if not self._has_news or self.contradiction is not None:
            return []
        statuses = self._statuses()
        decided: list[LeaderStatus] = []
        while (decision := statuses.get(self.cursor)) is not None:
            decided.append(decision)
            self.move_to(self.cursor + 1)
        self._has_news = False
        return decided

    def move_to(self, cursor: int) -> None:
        """Everything below is decided, here or by others."""
        for number in [number for number in self._slots if number < cursor]:
            del self._slots[number]
        self.cursor = cursor
        self._has_news = True

    # --- votes and certificates ---

    def _note_vote(self, vertex: Vertex, number: int) -> None:
        slot = self._slots.setdefault(number, LeaderSlot())
        leader = self._committee.leader_of(number)
        if vertex.parents_mask >> leader & 1:
            vertex.vote = next(parent.digest for parent in vertex.parents if parent.author == leader)
            slot.votes[vertex.vote] = slot.votes.get(vertex.vote, 0) | 1 << vertex.author
        else:
            slot.blames |= 1 << vertex.author
            self._decide_directly(number, slot)

    def _note_certificate(self, vertex: Vertex, number: int) -> None:
        slot = self._slots.setdefault(number, LeaderSlot())
        certified = self._certified_leader(vertex, slot)
        if certified is None:
            return
        vertex.certified = certified
        slot.certificates[certified] = slot.certificates.get(certified, 0) | 1 << vertex.author
        if len(slot.certificates) > 1:
            names = ", ".join(sorted(digest.hex() for digest in slot.certificates))
            self._contradict(number, f"two blocks of one leader are certified: {names}")
        self._decide_directly(number, slot)

    def _certified_leader(self, vertex: Vertex, slot: LeaderSlot) -> Digest | None:
        """The leader block that a quorum of the parents votes for: at most one, as a quorum is more than half."""
        between = self._dag.round(vertex.round - 1)
        assert between is not None, "the parents of the round before are accepted, and above the horizon"
        for digest, voters in slot.votes.items():
            voting = vertex.parents_mask & voters
            if not self._committee.is_quorum(voting):
                continue
            if not between.has_twins or self._committee.is_quorum(_voters_among(vertex.parents, digest)):
                return digest
        return None

    def _decide_directly(self, number: int, slot: LeaderSlot) -> None:
        is_skipped = self._committee.is_quorum(slot.blames)
        if is_skipped and slot.certificates:
            self._contradict(number, "a quorum did not vote for a block that another quorum certified")
        if slot.status is not None:
            return
        for digest, certifiers in slot.certificates.items():
            if self._committee.is_quorum(certifiers):
                slot.status = LeaderStatus(number, DecisionRule.DIRECT_COMMIT, self._dag.accepted[digest])
        if slot.status is None and is_skipped:
            slot.status = LeaderStatus(number, DecisionRule.DIRECT_SKIP, None)
        self._has_news |= slot.status is not None

    def _contradict(self, number: int, detail: str) -> None:
        if self.contradiction is None:
            self.contradiction = Contradiction(number, f"round {number}: {detail}")

    # --- decisions ---

    def _statuses(self) -> dict[int, LeaderStatus]:
        """Every slot from the newest down to the cursor that can be decided: directly, else by its anchor."""
        statuses: dict[int, LeaderStatus] = {}
        newest = max(self._slots, default=self.cursor)
        for number in range(newest, self.cursor - 1, -1):
            slot = self._slots.get(number)
            decision = slot.status if slot is not None else None
            if decision is None:
                decision = self._by_anchor(number, slot or LeaderSlot(), statuses, newest)
            if decision is not None:
                statuses[number] = decision
        return statuses

    def _by_anchor(self, number: int, slot: LeaderSlot, statuses: dict[int, LeaderStatus], newest: int) -> LeaderStatus | None:
        for later in range(number + 3, newest + 1):
            anchor = statuses.get(later)
            if anchor is None:
                return None
            if anchor.leader is not None:
                return self._by_history(number, slot, anchor.leader)
        return None

    def _by_history(self, number: int, slot: LeaderSlot, anchor: Vertex) -> LeaderStatus:
        """Commit the block of the slot that has a certificate in the anchor's history; else skip."""
        certified = {vertex.certified for vertex in self._history_at(anchor, number + 2)} - {None}
        for digest in slot.certificates:
            if digest in certified:
                return LeaderStatus(number, DecisionRule.INDIRECT_COMMIT, self._dag.accepted[digest])
        return LeaderStatus(number, DecisionRule.INDIRECT_SKIP, None)

    @staticmethod
    def _history_at(anchor: Vertex, number: int) -> list[Vertex]:
        """The blocks of one round in the history of a later block."""
        found: list[Vertex] = []
        seen = {anchor.digest}
        pending = [anchor]
        while pending:
            for parent in pending.pop().parents:
                if parent.round >= number and parent.digest not in seen:
                    seen.add(parent.digest)
                    (found if parent.round == number else pending).append(parent)
        return found


def _voters_among(parents: tuple[Vertex, ...], digest: Digest) -> int:
    """The authors of those parents that vote for this block; only blocks of the round after it ever do."""
    voters = 0
    for parent in parents:
        if parent.vote == digest:
            voters |= 1 << parent.author
    return voters
