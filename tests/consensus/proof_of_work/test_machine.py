"""Machines wired together in memory, with real puzzles in virtual time."""

import hashlib
import os
import subprocess
import sys

import pytest
from msgspec import structs

from consensus.effects import Adopt, Replay, Send
from consensus.encoding import CorruptRecordsError
from consensus.proof_of_work.header import BLOCK_CODEC
from consensus.proof_of_work.messages import MESSAGE_CODEC, GetBlocks, GetHeaders
from consensus.protocol import PeerJoined
from consensus.steps import Step, Verdict
from consensus.types import StepId
from tests.consensus.proof_of_work.forge import RULES
from tests.consensus.proof_of_work.network import Judge, Network, Node, Records, all_good, large, submit

QUICK = structs.replace(RULES, start_attempts=4)


def chain_of(node: Node) -> tuple[StepId, ...]:
    return tuple(step.id for step in node.machine.status.steps)


def agree(*nodes: Node) -> bool:
    return len({node.machine.status.head for node in nodes}) == 1


def test_two_peers_agree_on_one_chain_and_both_lead() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.connect(alice, bob)
    network.run(60_000)
    shorter = min(len(alice.finals), len(bob.finals))
    assert shorter > 20
    assert alice.finals[:shorter] == bob.finals[:shorter]
    assert (alice.refused, bob.refused, alice.accused, bob.accused) == ([], [], [], [])
    assert min(alice.machine.status.blocks_led, bob.machine.status.blocks_led) > 0


def test_blocks_come_at_the_interval_whatever_the_start_difficulty() -> None:
    network = Network(structs.replace(RULES, start_attempts=64))
    alice = network.add("alice")
    network.run(700_000)
    before = alice.machine.status.height
    network.run(200_000)
    assert 150 < alice.machine.status.height - before < 250


def test_blocks_reach_peers_that_are_not_connected_to_their_leader() -> None:
    network = Network(QUICK)
    alice, middle, bob = network.add("alice"), network.add("middle", is_leading=False), network.add("bob")
    network.connect(alice, middle)
    network.connect(middle, bob)
    network.run(30_000)
    network.run_until(lambda: agree(alice, middle, bob), 5_000)
    assert middle.machine.status.blocks_led == 0
    assert min(alice.machine.status.blocks_led, bob.machine.status.blocks_led) > 0


@pytest.mark.slow
def test_a_late_joiner_syncs_headers_first_and_then_leads() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.connect(alice, bob)
    network.run_until(lambda: alice.machine.status.height > 300, 600_000)
    carol = network.add("carol")
    network.connect(carol, alice)
    network.connect(carol, bob)
    network.run_until(lambda: agree(alice, bob, carol), 20_000)
    assert carol.machine.status.height > 300
    assert (carol.refused, alice.refused, bob.refused) == ([], [], [])
    network.run(30_000)
    assert carol.machine.status.blocks_led > 0


def test_a_joiner_leads_nothing_while_it_is_far_behind() -> None:
    network = Network(QUICK)
    alice = network.add("alice")
    network.run_until(lambda: alice.machine.status.height > 100, 300_000)
    carol = network.add("carol")
    network.connect(carol, alice)
    led_before = carol.machine.status.blocks_led
    network.run_until(lambda: carol.machine.status.height > 90, 20_000)
    assert carol.machine.status.blocks_led == led_before == 0


def test_a_short_split_heals() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.connect(alice, bob)
    network.run(10_000)
    network.disconnect(alice, bob)
    network.run_until(lambda: not agree(alice, bob), 20_000)
    network.run(4_000)
    network.connect(alice, bob)
    network.run(20_000)
    network.run_until(lambda: agree(alice, bob), 5_000)
    assert (alice.halted, bob.halted) == (None, None)


def test_a_split_deeper_than_finality_stops_the_lighter_side_with_a_clear_message() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.run_until(lambda: min(alice.machine.status.height, bob.machine.status.height) > 200, 600_000)
    network.connect(alice, bob)
    network.run(20_000)
    halted = [node for node in (alice, bob) if node.halted is not None]
    assert len(halted) == 1
    assert halted[0].halted is not None
    assert halted[0].finals[-1].hex() in halted[0].halted
    assert "leaves our chain after height 0, below our final block" in halted[0].halted


def test_a_contribution_reaches_the_block_of_another_peer() -> None:
    network = Network(structs.replace(QUICK, author_window=0))
    alice, bob = network.add("alice", is_leading=False), network.add("bob", is_leading=False)
    network.connect(alice, bob)
    digest = submit(network, alice, b"recipe")
    network.run(100)
    assert digest is not None
    assert (alice.machine.status.pool_size, bob.machine.status.pool_size) == (1, 1)


def stubborn(step: Step) -> Verdict:
    """Measures the claims of one height otherwise than everybody else."""
    return Verdict.CONTESTED if step.height == 20 else all_good(step)


def against(node: Node) -> Judge:
    """Contests what others lead at height 20."""
    return lambda step: Verdict.CONTESTED if step.height == 20 and step.leader != node.who.id else all_good(step)


def test_a_minority_that_contests_a_block_builds_elsewhere_and_then_follows_the_majority() -> None:
    network = Network(QUICK)
    most = [network.add(name) for name in ("alice", "bob", "carol")]
    dissenter = network.add("dave")
    dissenter.judge = against(dissenter)
    nodes = [*most, dissenter]
    for index, node in enumerate(nodes):
        for other in nodes[index + 1 :]:
            network.connect(node, other)
    network.run_until(lambda: most[0].machine.status.height >= 21, 120_000)
    network.run(100)
    contested = chain_of(most[0])[19]
    assert contested not in chain_of(dissenter)
    network.run_until(lambda: most[0].machine.status.height > 45, 120_000)
    network.run_until(lambda: agree(*nodes), 10_000)
    assert contested in chain_of(dissenter)
    assert [node.halted for node in nodes] == [None] * 4
    assert all(node.refused == [] for node in nodes)
    assert dissenter.machine.status.blocks_contested >= 1


def test_peers_that_split_evenly_over_a_claim_converge() -> None:
    network = Network(QUICK)
    nodes = [network.add(f"peer {index}", judge=stubborn if index % 2 else all_good) for index in range(4)]
    for index, node in enumerate(nodes):
        for other in nodes[index + 1 :]:
            network.connect(node, other)
    network.run_until(lambda: nodes[0].machine.status.height > 60, 300_000)
    network.run_until(lambda: agree(*nodes), 20_000)
    assert [node.halted for node in nodes] == [None] * 4


def test_a_restart_from_records_finds_the_same_head() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.connect(alice, bob)
    network.run(40_000)
    network.stop(alice)
    before = alice.machine.status
    again = network.add("alice", records=alice.records)
    after = again.machine.status
    assert (after.head, after.final, after.blocks_led, after.steps) == (
        before.head,
        before.final,
        before.blocks_led,
        before.steps,
    )
    network.connect(again, bob)
    network.run(20_000)
    network.run_until(lambda: agree(again, bob), 5_000)
    assert again.machine.status.blocks_led > after.blocks_led


def test_a_restart_replays_only_what_the_learner_does_not_hold() -> None:
    network = Network(QUICK)
    alice = network.add("alice", is_leading=True)
    network.run(60_000)
    kept = alice.finals[-5]
    machine = network.add("alice", records=alice.records, replay_from=kept).machine
    effects = machine.start(network.now)
    replayed = [effect.step for effect in effects if isinstance(effect, Replay)]
    assert replayed[0].parent == kept
    assert [step.parent for step in replayed[1:]] == [step.id for step in replayed[:-1]]
    adopted = next(effect for effect in effects if isinstance(effect, Adopt))
    assert adopted == Adopt(alice.machine.status.head, alice.machine.status.height)
    assert replayed[-1].id == adopted.step


def test_a_restart_at_any_moment_loses_nothing_that_was_final() -> None:
    network = Network(QUICK)
    alice = network.add("alice")
    network.run(40_000)
    for kept in range(0, len(alice.records.journal), 7):
        records = Records()
        for record in alice.records.journal[:kept]:
            records.write(record)
        again = Network(QUICK).add("alice", records=records)
        final = records.tables.get(("final", b"final"))
        checked = sum(table == "verdict" for table, _ in records.tables)
        assert again.machine.status.height == checked
        assert again.machine.status.final_height == (0 if final is None else int.from_bytes(final[:8], "big"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (("block", 3, b"\xff"), "record of block"),
        (("block", 3, None), "holds another block"),
        (("verdict", 3, b"perhaps"), "allowed: good, contested, refuted, invalid"),
        (("final", 0, b"short"), "allowed: 40"),
        (("final", 0, bytes(40)), "is not recorded"),
    ],
)
def test_records_that_contradict_themselves_are_named(spoil: tuple[str, int, bytes | None], words: str) -> None:
    network = Network(QUICK)
    alice = network.add("alice")
    network.run(30_000)
    table, index, value = spoil
    keys = sorted(key for key in alice.records.tables if key[0] == table)
    alice.records.tables[keys[index]] = alice.records.tables[keys[index + 1]] if value is None else value
    with pytest.raises(CorruptRecordsError, match=words):
        network.add("alice", records=alice.records)


def test_a_missing_parent_in_the_records_is_named() -> None:
    network = Network(QUICK)
    alice = network.add("alice")
    network.run(30_000)
    del alice.records.tables[sorted(key for key in alice.records.tables if key[0] == "block")[2]]
    with pytest.raises(CorruptRecordsError, match=r"its parent .* is not recorded"):
        network.add("alice", records=alice.records)


def test_a_kept_state_of_a_step_that_is_not_final_is_named() -> None:
    network = Network(QUICK)
    alice = network.add("alice")
    network.run(30_000)
    with pytest.raises(CorruptRecordsError, match="is not final by the records"):
        network.add("alice", records=alice.records, replay_from=StepId(b"x" * 32))


def test_every_recorded_block_has_its_parent_recorded_before() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.connect(alice, bob)
    network.run(30_000)
    seen = {alice.heads[0], bob.heads[0]}
    for (table, key), value in alice.records.tables.items():
        if table == "block":
            assert BLOCK_CODEC.decode(value).header.parent in seen or key[:8] == (1).to_bytes(8, "big")
            seen.add(StepId(key[8:]))


def test_a_pause_of_the_whole_network_does_not_make_blocks_free() -> None:
    network = Network(structs.replace(QUICK, half_life_blocks=20))
    alice = network.add("alice")
    network.run(200_000)
    attempts = alice.machine.status.attempts_expected
    network.stop(alice)
    network.run(36_000_000)
    again = network.add("alice", records=alice.records)
    network.run(10_000)
    assert again.machine.status.attempts_expected * 3 >= attempts
    assert again.machine.status.height - alice.machine.status.height < 60


def test_a_sync_asks_for_headers_before_it_asks_for_blocks() -> None:
    network = Network(QUICK)
    alice = network.add("alice")
    network.run_until(lambda: alice.machine.status.height > 40, 120_000)
    carol = network.add("carol", is_leading=False)
    asked: list[type] = []
    feed = network.feed

    def listening(node: Node, event):
        effects = feed(node, event)
        if node is carol:
            asked.extend(type(MESSAGE_CODEC.decode(effect.message)) for effect in effects if isinstance(effect, Send))
        return effects

    network.feed = listening
    network.connect(carol, alice)
    network.run_until(lambda: agree(alice, carol), 10_000)
    assert next(kind for kind in asked if kind in (GetHeaders, GetBlocks)) is GetHeaders
    assert asked.count(GetBlocks) >= 2


def test_after_a_halt_nothing_is_done_any_more() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.run_until(lambda: min(alice.machine.status.height, bob.machine.status.height) > 40, 120_000)
    network.connect(alice, bob)
    network.run(20_000)
    halted = next(node for node in (alice, bob) if node.halted is not None)
    height = halted.machine.status.height
    assert network.feed(halted, PeerJoined(alice.who.id)) == ()
    assert halted.machine.status.height == height


def trace_of_a_split() -> str:
    network = Network(QUICK)
    nodes = [network.add(name) for name in ("alice", "bob", "carol")]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        network.connect(nodes[one], nodes[other])
    network.run(10_000)
    submit(network, nodes[0], b"recipe", large("a gradient"), large("another"))
    network.run(30)
    network.disconnect(nodes[0], nodes[1])
    network.disconnect(nodes[0], nodes[2])
    network.run(6_000)
    network.connect(nodes[0], nodes[2])
    network.run(10_000)
    return network.trace.hexdigest()


@pytest.mark.slow
def test_equal_inputs_give_equal_effects_in_two_processes_with_two_hash_seeds() -> None:
    code = "from tests.consensus.proof_of_work.test_machine import trace_of_a_split; print(trace_of_a_split())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].strip()) == len(hashlib.blake2b().hexdigest())
