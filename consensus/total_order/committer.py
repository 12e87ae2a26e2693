"""Carries out decisions: a commit is recorded, delivered, and moves the horizon."""

from collections.abc import Iterable

from consensus.effects import Deliver, Halt
from consensus.steps import Contribution, DeliveredContribution, DeliveredStep, contribution_digest
from consensus.total_order.block import Attestations, Block
from consensus.total_order.commit_rule import DecisionRule, LeaderStatus
from consensus.total_order.committee import Committee
from consensus.total_order.context import State
from consensus.total_order.dag import Vertex
from consensus.total_order.linearizer import CommitRecord, commit_digest
from consensus.total_order.proposer import Proposer
from consensus.total_order.records import record_of_commit
from consensus.total_order.validation import Validation
from consensus.types import SIGNATURE_BYTES, Height, NetworkId, StepId

NO_SIGNATURE = bytes(SIGNATURE_BYTES)
"""An item is signed by its block."""


class Committer:
    """Appends to the order; our own chain of blocks (`proposer`, None for an observer) learns what became of its blocks."""

    def __init__(self, state: State, validation: Validation, attestations: Attestations, proposer: Proposer | None) -> None:
        self._state = state
        self._validation = validation
        self._attestations = attestations
        self._proposer = proposer

    def settle(self) -> bool:
        """Carry out what the commit rule has decided since; whether there was anything."""
        state = self._state
        decisions = state.rule.decide()
        if state.rule.contradiction is not None:
            state.effects.add(
                Halt(f"more than {state.committee.faulty_max} of the members are faulty: {state.rule.contradiction.detail}")
            )
            return False
        for decision in decisions:
            self._count(decision)
            if decision.leader is not None:
                self.commit(decision.leader)
        return bool(decisions)

    def commit(self, leader: Vertex) -> CommitRecord:
        """Append the commit of this leader to the order."""
        state = self._state
        record, added = state.order.commit(leader)
        state.effects.record(record_of_commit(record))
        blocks = [vertex.block for vertex in added]
        state.effects.add(Deliver(delivered_step(state.network_id, state.committee, record, blocks)))
        for vertex in added:
            state.busy.pop(vertex.digest, None)
        self._attestations.on_commit(state.order.index)
        if self._proposer is not None:
            self._proposer.on_commit(added)
        self._move_horizon()
        return record

    def on_checkpoint(self) -> None:
        """The order has begun anew above commits that we have not seen."""
        self._attestations.on_commit(self._state.order.index)
        if self._proposer is not None:
            self._proposer.on_checkpoint()
        self._move_horizon()

    def _move_horizon(self) -> None:
        """Forget what the order leaves behind."""
        if self._state.order.horizon > self._state.dag.horizon:
            forgotten = self._validation.forget_below_horizon()
            if self._proposer is not None:
                self._proposer.on_forgotten(forgotten)

    def _count(self, decision: LeaderStatus) -> None:
        counters = self._state.counters
        match decision.rule:
            case DecisionRule.DIRECT_COMMIT:
                counters.direct_commits += 1
            case DecisionRule.DIRECT_SKIP:
                counters.direct_skips += 1
            case DecisionRule.INDIRECT_COMMIT:
                counters.indirect_commits += 1
            case DecisionRule.INDIRECT_SKIP:
                counters.indirect_skips += 1


def delivered_step(network_id: NetworkId, committee: Committee, record: CommitRecord, blocks: Iterable[Block]) -> DeliveredStep:
    """What the learner gets of a commit; `blocks` are those that the record names, in its order."""
    items = tuple(item for block in blocks for item in delivered_contributions(network_id, committee, block))
    step = commit_digest(network_id, record)
    return DeliveredStep(step, StepId(record.previous), Height(record.index), record.time_ms, items)


def delivered_contributions(network_id: NetworkId, committee: Committee, block: Block) -> Iterable[DeliveredContribution]:
    """The payloads of one block, named like contributions of proof of work without attachments: those are the block's."""
    author = committee.members[block.content.author]
    for item in block.content.items:
        digest = contribution_digest(network_id, Contribution(author, item.base, item.payload, (), NO_SIGNATURE))
        yield DeliveredContribution(author, item.base, item.payload, digest, block.content.attachments)
