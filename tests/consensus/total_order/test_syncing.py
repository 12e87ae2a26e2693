"""Observers, large payloads, ranges of commits from liars, snapshots."""

import msgspec
import pytest
from msgspec import structs

from consensus.effects import Offence
from consensus.encoding import encode
from consensus.protocol import StateReached
from consensus.steps import Attachment
from consensus.total_order.linearizer import commit_digest
from consensus.total_order.machine import TotalOrderRules
from consensus.total_order.messages import Blocks, Commits
from consensus.types import Digest, Height
from tests.consensus.total_order.forge import NETWORK
from tests.consensus.total_order.network import (
    RULES,
    WITHHELD_MS,
    Network,
    Node,
    assert_agreement,
    assert_honest,
    payloads,
    read,
)
from tests.consensus.total_order.test_faults import goes_on, height

SHALLOW = structs.replace(RULES, gc_depth=3)


def test_an_observer_that_joins_late_follows_and_never_signs() -> None:
    network = Network(4, rules=SHALLOW)
    nodes = network.add_all()
    network.submit(nodes[0], b"before")
    goes_on(network, nodes, commits=120)
    watcher = network.add("observer")
    goes_on(network, [*nodes, watcher])
    assert payloads(watcher) == [b"before"]
    assert watcher.steps[0].height == 1
    status = watcher.machine.status
    assert (status.is_member, status.counters.blocks_created, watcher.guard) == (False, 0, 0)
    assert status.counters.synced_commits > 0


def test_an_observer_of_one_member_alone_follows() -> None:
    network = Network(4)
    nodes = network.add_all()
    watcher = network.add("observer")
    for node in nodes[1:]:
        network.unlink(watcher, node)
    goes_on(network, [*nodes, watcher], commits=40)
    assert watcher.peers == {nodes[0].id}


def test_large_payloads_are_held_by_everybody_before_anything_is_ordered_on_them() -> None:
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    digest = Digest(b"g" * 32)
    network.payloads[digest] = {nodes[1].id}
    network.submit(nodes[1], b"gradient", attachments=(Attachment(digest, 1_000_000),))
    network.run_until(lambda: all(payloads(node) == [b"gradient"] for node in nodes), 5_000)
    assert network.payloads[digest] == {node.id for node in nodes}
    items = {item for node in nodes for step in node.steps for item in step.items}
    assert {item.attachments for item in items} == {(Attachment(digest, 1_000_000),)}
    goes_on(network, nodes)


def test_a_payload_that_only_its_author_has_is_ordered_nowhere_and_blocks_nobody() -> None:
    network = Network(4)
    nodes = network.add_all()
    goes_on(network, nodes)
    network.submit(nodes[1], b"gradient", attachments=(Attachment(Digest(b"g" * 32), 1_000_000),))
    others = [nodes[0], *nodes[2:]]
    goal = max(height(node) for node in nodes) + 60
    network.run_until(lambda: all(height(node) >= goal for node in others), 60_000)
    assert_agreement(nodes)
    assert all(payloads(node) == [] for node in others)
    assert all(node.machine.status.suspended <= 40 for node in others)


@pytest.mark.slow
@pytest.mark.parametrize("slow_ms", [None, 900])
@pytest.mark.parametrize(("size", "liars", "favoured"), [(4, 1, (0,)), (7, 2, (0,)), (7, 2, (0, 1))])
def test_payloads_that_liars_give_to_few_members_alone_come_from_those(
    size: int, liars: int, favoured: tuple[int, ...], slow_ms: int | None
) -> None:
    """Those build on what names them, and the others can follow no faster than they get them: a commit a second, or two."""
    network = Network(size)
    nodes = network.add_all()
    goes_on(network, nodes)
    friends = {nodes[index].id for index in favoured}
    network.slow_ms = slow_ms
    network.favoured = {node.id: friends | {node.id} for node in nodes[-liars:]}

    def name_payloads(duration_ms: int) -> None:
        for _ in range(0, duration_ms, 50):
            for liar in nodes[-liars:]:
                digest = Digest(network.random.randbytes(32))
                network.payloads[digest] = {liar.id}
                network.submit(liar, b"gradient", attachments=(Attachment(digest, 1_000),))
            network.run(50)

    name_payloads(liars * WITHHELD_MS + 1_000)
    before = height(nodes[0])
    name_payloads(10_000)
    assert height(nodes[0]) - before > 100
    assert_agreement(nodes)
    assert_honest(network, nodes)


def lagging(rules: TotalOrderRules = SHALLOW, commits: int = 100, **more: object) -> tuple[Network, list[Node]]:
    """A network whose member 3 has been away for so many commits."""
    network = Network(4, rules=rules, **more)  # type: ignore[arg-type]
    nodes = network.add_all()
    goes_on(network, nodes)
    network.split(nodes[:3], nodes[3:])
    goes_on(network, nodes[:3], commits=commits, limit_ms=60_000)
    return network, nodes


def test_a_range_with_a_changed_commit_is_refused_and_another_member_asked() -> None:
    network, nodes = lagging()

    def change(_: Node, __: object, message: bytes) -> bytes:
        answer = read(message)
        if not isinstance(answer, Commits) or len(answer.records) < 3:
            return message
        first, second, *others = answer.records
        second = msgspec.structs.replace(second, time_ms=second.time_ms + 1)
        return encode(Commits(answer.number, (first, second, *others)))

    for liar in nodes[:2]:
        network.filters[liar.id] = change
    network.heal()
    goal = height(nodes[0]) + 10
    network.run_until(lambda: height(nodes[3]) >= goal, 40_000)
    assert_agreement(nodes)
    assert {refuse.offence for refuse in nodes[3].refused} <= {Offence.MALFORMED}
    assert {refuse.peer for refuse in nodes[3].refused} <= {nodes[0].id, nodes[1].id}


def test_a_range_that_nobody_vouches_for_is_never_taken_over() -> None:
    """One liar serves a chain of its own: well-formed, of real blocks, but not what the others have committed."""
    network, nodes = lagging()

    def invent(_: Node, __: object, message: bytes) -> bytes:
        answer = read(message)
        if not isinstance(answer, Commits):
            return message
        made, previous = [], None
        for record in answer.records:
            changed = msgspec.structs.replace(record, time_ms=record.time_ms + 1, previous=previous or record.previous)
            previous = commit_digest(NETWORK, changed)
            made.append(changed)
        return encode(Commits(answer.number, tuple(made)))

    network.filters[nodes[0].id] = invent
    network.heal()
    goal = height(nodes[1]) + 10
    network.run_until(lambda: height(nodes[3]) >= goal, 90_000)
    assert_agreement(nodes)
    assert nodes[3].halted is None


def test_members_that_serve_no_blocks_only_delay() -> None:
    network, nodes = lagging()
    for mute in nodes[:1]:
        network.filters[mute.id] = lambda _, __, message: None if isinstance(read(message), Blocks | Commits) else message
    network.heal()
    goes_on(network, nodes, limit_ms=40_000)


def test_a_checkpoint_that_f_plus_1_members_signed_replaces_a_long_replay() -> None:
    network, nodes = lagging(commits=120, snapshot_behind=50)
    agreed = Height(height(nodes[0]) - 2)
    for node in nodes[:2]:
        network.feed(node, StateReached(agreed, Digest(b"s" * 32)))
    network.feed(nodes[2], StateReached(agreed, Digest(b"a lie about the state digest...!")))
    network.run(500)
    network.heal()
    goes_on(network, nodes[:3])
    network.run_until(lambda: height(nodes[3]) >= height(nodes[0]) - 3, 20_000)
    assert_agreement(nodes[:3])
    counters = nodes[3].machine.status.counters
    assert counters.snapshots == 1
    (asked,) = nodes[3].states
    assert (asked.height, asked.state_digest) == (agreed, b"s" * 32)
    assert sorted(asked.peers) == sorted(node.id for node in nodes[:2])
    later = [step for step in nodes[3].steps if step.height > agreed]
    assert later[0].height == agreed + 1
    assert later[0].parent == asked.step
    assert_honest(network, nodes)
    network.crash(nodes[3])
    again = network.restart(nodes[3])
    goes_on(network, nodes[:3])
    network.run_until(lambda: height(again) >= height(nodes[0]) - 3, 20_000)


def test_a_checkpoint_of_one_member_alone_is_not_taken() -> None:
    network, nodes = lagging(commits=80, snapshot_behind=50)
    network.feed(nodes[0], StateReached(Height(height(nodes[0]) - 2), Digest(b"s" * 32)))
    network.run(500)
    network.heal()
    goes_on(network, nodes)
    assert nodes[3].machine.status.counters.snapshots == 0
    assert nodes[3].states == []
