"""Replicas and learners in all four modes under one liar, restarts at any effect and lost payloads, with all retention so short
that "two thousand commits later" comes in every run: nothing raises, nothing is believed held that is not, all go on.
"""

import hashlib
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from consensus.effects import Send, SolvePuzzle
from consensus.encoding import encode
from consensus.proof_of_work.header import Block, Body, puzzle_prefix, sign_header
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.messages import BlockMessage as WorkMessage
from consensus.proof_of_work.messages import ContributionMessage
from consensus.steps import Attachment, genesis_step, sign_contribution
from consensus.total_order.block import BlockContribution, CommitMark, Content, Reference, genesis_references, sign_block
from consensus.total_order.committee import Committee
from consensus.total_order.dag import Dag
from consensus.total_order.machine import TotalOrder
from consensus.total_order.messages import BlockMessage
from consensus.types import StepId
from learning.aggregation.quantised import payload_digest, quantise
from learning.following.line import LineLearner
from learning.gradient.ledger import GradientSubmission, encode_submission
from learning.gradient.stream import GradientStream
from node.lab.checkers.bounds import Scale, excess
from node.lab.simulation.network import SimulatedNetwork, SimulatedPeer
from node.lab.simulation.peer import Built
from node.rules.retention import CHECKPOINTS_KEPT
from node.runtime.coupling import Coupling
from node.storage.tables import PAYLOAD_TABLE
from tests.consensus.proof_of_work.forge import Forge, Person
from tests.learning.gradient.quadratic import LAYOUT, rules
from tests.node.lab.simulation.puppet import IdleLearner, Puppet
from tests.node.lab.simulation.world import (
    NETWORK,
    WORK,
    key_of,
    simulated_leaders,
    simulated_members,
    simulated_network,
    simulated_workers,
)

PEERS = 4
LIAR = 3
GC_DEPTH = 10
INTERVAL = 4
"""Commits from one checkpoint to the next."""
BEHIND = GC_DEPTH + 1
PAYLOAD_COMMITS = CHECKPOINTS_KEPT * INTERVAL + BEHIND + GC_DEPTH + 1
SEED = 11

GRADIENTS = rules(staleness_max=30)

Make = Callable[[], SimulatedNetwork]

MODES: dict[str, Make] = {
    "evolution-work": lambda: simulated_network(PEERS, SEED),
    "gradients-work": lambda: simulated_leaders(PEERS, SEED, GRADIENTS),
    "evolution-order": lambda: simulated_members(PEERS, SEED, snapshot_behind=BEHIND),
    "gradients-order": lambda: simulated_workers(
        PEERS, SEED, GRADIENTS, snapshot_behind=BEHIND, payload_commits=PAYLOAD_COMMITS
    ),
}

KINDS = st.sampled_from(["served", "withheld", "wrong bytes", "named before", "somebody else's"])
HONEST = st.integers(min_value=0, max_value=LIAR - 1)


class Adversity(RuleBasedStateMachine):
    """One network. Peer 3 lies; at most one of the others is down at a time."""

    make: Make

    def __init__(self) -> None:
        super().__init__()
        self._interval = patch("learning.gradient.checkpoint_codec.KEPT_COMMITS", (INTERVAL, INTERVAL))
        self._interval.start()
        self.network = self.make()
        self.peers = list(self.network.peers.values())
        self.liar = self.peers[LIAR]
        self.key = key_of(SEED, LIAR)
        self.is_ordered = isinstance(ordering_of(self.peers[0]), TotalOrder)
        self.named: list[tuple[bytes, int]] = []
        self.numbers = 0
        self.last_round = 0
        self.last_sound: Reference | None = None
        if self.is_ordered:
            self.liar.build = lambda _records, _guard: Built(Puppet(lambda _event: ()), IdleLearner())
            self.network.crash(self.liar.id)
            self.network.restart(self.liar.id)

    @property
    def honest(self) -> list[SimulatedPeer]:
        return self.peers[:LIAR]

    @initialize()
    def begin(self) -> None:
        self.network.run_for(3_000)

    # --- what time and machines do ---

    @rule(milliseconds=st.sampled_from([20, 300, 3_000, 20_000]))
    def pass_time(self, milliseconds: int) -> None:
        self.network.run_for(milliseconds)

    @rule(number=HONEST, effects=st.integers(min_value=0, max_value=40), milliseconds=st.integers(min_value=0, max_value=1_500))
    def end_and_restart(self, number: int, effects: int, milliseconds: int) -> None:
        """At any effect."""
        peer = self.peers[number]
        self.network.kill_at(peer.id, peer.effects_done + effects)
        self.network.run_for(milliseconds)
        self.network.restart(peer.id)

    @rule(number=HONEST, which=st.integers(min_value=0))
    def lose_a_payload(self, number: int, which: int) -> None:
        """Of what another honest peer holds, too."""
        peer = self.peers[number]
        others = {row for other in self.honest if other is not peer for row in other.records if row[0] == PAYLOAD_TABLE}
        rows = sorted(row for row in peer.records if row in others)
        self.network.crash(peer.id)
        if rows:
            del peer.records[rows[which % len(rows)]]
        self.network.restart(peer.id)

    # --- what the liar says ---

    @rule(kind=KINDS, is_orphan=st.booleans(), heard_by=st.sets(HONEST, min_size=1), which=st.integers(0, 3))
    def lie(self, kind: str, is_orphan: bool, heard_by: set[int], which: int) -> None:
        """Something new that names a payload, sound or with a parent that nobody has."""
        payload = self._payload(kind, which)
        messages = self._blocks(payload, is_orphan) if self.is_ordered else self._work(payload, is_orphan)
        shell = self.network._shells[self.liar.id]  # nobody outside asks a simulated peer for anything
        for number in sorted(heard_by):
            for message in messages:
                shell._push((Send(self.peers[number].id, message),))
        self.network.run_for(100)

    def _payload(self, kind: str, which: int) -> Attachment:
        if kind == "named before" and self.named:
            return Attachment(*self.named[-1 - which % len(self.named)])
        held = sorted(row[1] for row in self.honest[0].records if row[0] == PAYLOAD_TABLE)
        if kind == "somebody else's" and held:
            digest = held[which % len(held)]
            return Attachment(digest, len(self.honest[0].records[PAYLOAD_TABLE, digest]))
        self.numbers += 1
        values = np.random.Generator(np.random.Philox(key=self.numbers)).normal(0, 0.1, 15).astype(np.float32)
        quantised = quantise(values, LAYOUT, 16)
        assert quantised is not None
        encoded = quantised.encoded
        digest = payload_digest(encoded)
        self.named.append((digest, len(encoded)))
        if kind != "withheld":
            self.liar.records[PAYLOAD_TABLE, digest] = encoded if kind == "served" else encoded[::-1]
        return Attachment(digest, len(encoded))

    def _submission(self, payload: Attachment) -> bytes:
        """On the newest model, so that it counts."""
        learner = self.honest[0].learner
        stream = learner.follower if isinstance(learner, LineLearner) else None
        is_known = isinstance(stream, GradientStream)
        version, digest = (stream.ledger.version, stream.ledger.digest) if is_known else (0, bytes(32))
        return encode_submission(GradientSubmission(version, digest, payload.digest, payload.length))

    def _blocks(self, payload: Attachment, is_orphan: bool) -> list[bytes]:
        """One block for the next round, if the liar has none for it."""
        machine = ordering_of(self.honest[0])
        assert isinstance(machine, TotalOrder)
        dag: Dag = machine._state.dag  # a liar knows all
        number = dag.quorum_round
        others = [vertex.reference for author in range(LIAR) if (vertex := dag.vertex_of(author, number)) is not None]
        if number < 1 or number + 1 <= self.last_round or len(others) < LIAR:
            return []
        self.last_round = number + 1
        if is_orphan:
            others[0] = Reference(number, others[0].author, hashlib.blake2b(payload.digest, digest_size=32).digest())
        committee = Committee(tuple(peer.id for peer in self.peers))
        own = self.last_sound or genesis_references(NETWORK, committee)[LIAR]
        if own.round <= dag.horizon and own.round > 0:
            own = genesis_references(NETWORK, committee)[LIAR]
        content = Content(
            author=LIAR,
            round=number + 1,
            parents=(own, *others),
            items=(BlockContribution(bytes(32), self._submission(payload)),),
            attachments=(payload,),
            time_ms=self.network.now,
            commit=CommitMark(0, genesis_step(NETWORK)),
            checkpoint=None,
        )
        digest, block = sign_block(NETWORK, content, self.key.sign)
        if not is_orphan:
            self.last_sound = Reference(number + 1, LIAR, digest)
        return [encode(BlockMessage(block))]

    def _work(self, payload: Attachment, is_orphan: bool) -> list[bytes]:
        """A contribution; and a block that lists it, on the head or on nothing."""
        machine = ordering_of(self.honest[0])
        assert isinstance(machine, ProofOfWork)
        chain = machine._chain  # a liar knows all
        head, liar = chain.tree.head, Person(self.liar.id, self.key.sign)
        contribution = sign_contribution(
            NETWORK, liar.id, StepId(head.id), self._submission(payload), liar.sign, attachments=(payload,)
        )
        messages = [encode(ContributionMessage(contribution))]
        if is_orphan:
            forge = Forge(WORK, NETWORK)
            body = Body((contribution,), b"", bytes(32))
            draft = forge.draft(head, liar, body, time_ms=self.network.now)
            prefix = puzzle_prefix(NETWORK, draft)
            nonce = self.network.puzzles.solve(SolvePuzzle(prefix, draft.target))
            block = Block(sign_header(NETWORK, draft, nonce, liar.sign), body)
            messages.append(encode(WorkMessage(block)))
        return messages

    # --- what must hold ---

    @invariant()
    def nobody_honest_has_ended(self) -> None:
        assert [peer.halted for peer in self.honest] == [None] * LIAR
        assert [peer.stopped for peer in self.honest] == [None] * LIAR

    @invariant()
    def what_is_believed_held_is_on_the_disk(self) -> None:
        for peer in self.honest:
            if peer.is_up and peer.effects.is_idle:
                held = replica_of(peer)._attachments._held  # what it believes, not what it says
                assert set(held) == {row for table, row in peer.records if table == PAYLOAD_TABLE}

    @invariant()
    def all_that_is_held_is_bounded(self) -> None:
        for peer in self.honest:
            height = 0 if self.is_ordered else ordering_of(peer).status.final_height  # type: ignore[attr-defined]
            scale = Scale(PEERS, GC_DEPTH if self.is_ordered else 0, height)
            assert excess(replica_of(peer), scale) is None
            if self.is_ordered:
                rounds = PAYLOAD_COMMITS + 4 * GC_DEPTH
                assert sum(table == PAYLOAD_TABLE for table, _ in peer.records) <= 2 * rounds * PEERS

    def teardown(self) -> None:
        """All go on, with one model, and wait for nothing."""
        try:
            self._end_well()
        finally:
            self._interval.stop()

    def _end_well(self) -> None:
        for peer in self.honest:
            if not peer.is_up:
                self.network.restart(peer.id)
        self.network.run_for(5_000)
        before = [height_of(peer) for peer in self.honest]
        self.network.run_for(15_000)
        self.nobody_honest_has_ended()
        self.what_is_believed_held_is_on_the_disk()
        after = [height_of(peer) for peer in self.honest]
        assert all(now > then for now, then in zip(after, before, strict=True)), (before, after)
        assert [replica_of(peer).awaited for peer in self.honest] == [None] * LIAR
        honest = {peer.id for peer in self.honest}
        assert not [one for peer in self.honest for one in peer.accusations if one.accused in honest]
        assert not [other for peer in self.honest for other in peer.refused if other in honest]


def replica_of(peer: SimulatedPeer) -> Coupling:
    assert isinstance(peer.replica, Coupling)
    return peer.replica


def ordering_of(peer: SimulatedPeer) -> TotalOrder | ProofOfWork:
    machine = peer.replica.ordering
    assert isinstance(machine, TotalOrder | ProofOfWork)
    return machine


def height_of(peer: SimulatedPeer) -> int:
    machine = ordering_of(peer)
    return machine.status.commits if isinstance(machine, TotalOrder) else machine.status.height


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_no_payload_of_a_liar_and_no_restart_ends_or_stops_anybody_honest(mode: str) -> None:
    class OfMode(Adversity):
        make = staticmethod(MODES[mode])  # type: ignore[assignment]

    run_state_machine_as_test(
        OfMode,
        settings=settings(
            max_examples=6,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
