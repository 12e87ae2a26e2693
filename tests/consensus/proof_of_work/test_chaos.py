"""Whatever order things come in: nothing breaks, bounds hold, and honest peers end up on one chain."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from consensus.encoding import encode
from consensus.proof_of_work.machine import SYNC_TIMER
from consensus.proof_of_work.messages import (
    BlockMessage,
    Blocks,
    ContributionMessage,
    GetBlocks,
    GetHeaders,
    Headers,
    Place,
    Tip,
)
from consensus.proof_of_work.mining import REFRESH_TIMER
from consensus.protocol import AttachmentHeld, PeerJoined, Received, TimerFired
from consensus.steps import Attachment, Verdict, sign_contribution
from consensus.types import Digest, Instant
from tests.consensus.proof_of_work.bench import PEER, Answer, Bench
from tests.consensus.proof_of_work.forge import NETWORK, RULES, Forge, Forged, person
from tests.consensus.proof_of_work.network import Network, Node, all_good, large, submit

FORGE = Forge()
ALICE = person("alice")
TRUNK = FORGE.branch(FORGE.genesis, ALICE, 18)
PAYLOADS = tuple(Attachment(bytes([number]) * 32, 1_000) for number in range(6))


def heavy(parent: Forged, number: int) -> Forged:
    """A block with a contribution that names one or two large payloads."""
    named = PAYLOADS[number : number + 2]
    one = sign_contribution(NETWORK, ALICE.id, parent.id, bytes([number]), ALICE.sign, attachments=named)
    return FORGE.child(parent.link, ALICE, contributions=(one,))


HEAVY = (heavy(TRUNK[0], 0), heavy(TRUNK[2], 1), heavy(TRUNK[16], 2), heavy(TRUNK[17], 4))
POOL = (
    *TRUNK,
    *HEAVY,
    *FORGE.branch(HEAVY[0].link, person("erin"), 20),
    heavy(HEAVY[3], 5),
    *FORGE.branch(TRUNK[3].link, person("bob"), 6),
    *FORGE.branch(TRUNK[9].link, person("carol"), 9),
    *FORGE.branch(FORGE.genesis, person("dave"), 25),
)
BLOCKS = tuple(forged.block for forged in POOL)
MESSAGES = [
    *(encode(BlockMessage(block)) for block in BLOCKS),
    *(encode(Headers(tuple(block.header for block in BLOCKS[first : first + 6]))) for first in range(0, len(BLOCKS), 3)),
    *(encode(Blocks(BLOCKS[first : first + 4])) for first in range(0, len(BLOCKS), 4)),
    *(encode(Tip(f.id, f.link.height, f.link.work.to_bytes(40, "big"))) for f in POOL[::5]),
    *(encode(ContributionMessage(forged.block.body.contributions[0])) for forged in HEAVY),
    encode(GetHeaders((Place(5, TRUNK[4].id), Place(0, FORGE.genesis.id)))),
    encode(GetBlocks(tuple(Place(f.link.height, f.id) for f in POOL[:9]))),
]
VERDICTS = (Verdict.GOOD, Verdict.GOOD, Verdict.GOOD, Verdict.CONTESTED, Verdict.INVALID)

actions = st.one_of(
    st.sampled_from(MESSAGES),
    st.tuples(st.sampled_from(MESSAGES), st.integers(min_value=0), st.integers(min_value=1, max_value=255)),
    st.binary(max_size=60),
    st.integers(min_value=1, max_value=20_000),
    st.sampled_from([AttachmentHeld(Digest(payload.digest)) for payload in PAYLOADS]),
)


def mutated(message: bytes, position: int, flip: int) -> bytes:
    changed = bytearray(message)
    changed[position % len(changed)] ^= flip
    return bytes(changed)


@settings(max_examples=60, deadline=None)
@given(st.lists(actions, max_size=60), st.integers(min_value=0, max_value=4))
def test_no_bytes_break_the_machine_and_a_restart_finds_its_head(steps: list, salt: int) -> None:
    bench = Bench(judge=lambda step: Answer(VERDICTS[(step.id[0] + salt) % len(VERDICTS)]), is_leading=True)
    for step in steps:
        bench.feed(PeerJoined(PEER.id))
        if isinstance(step, AttachmentHeld):
            bench.feed(step)
        elif isinstance(step, int):
            bench.now = Instant(bench.now + step)
            bench.feed(TimerFired(SYNC_TIMER))
            bench.feed(TimerFired(REFRESH_TIMER))
        else:
            bench.feed(Received(PEER.id, mutated(*step) if isinstance(step, tuple) else step))
    again = Bench(records=bench.records)
    assert again.machine.status.head == bench.machine.status.head
    assert again.machine.status.final == bench.machine.status.final


def quarrelsome(salt: int):
    """Now and then contests a block that others find good."""
    return lambda step: Verdict.CONTESTED if (step.id[0] ^ salt) % 37 == 0 else all_good(step)


def shaken_network(seed: int) -> list[Node]:
    """Five peers that lose and find connections, stop and start again, and measure differently; then peace."""
    chance = random.Random(seed)
    network = Network(structs.replace(RULES, start_attempts=4, finality_depth=40, contest_depth=6, base_age_max=6))
    names = [f"peer {index}" for index in range(5)]
    nodes = [
        network.add(name, judge=quarrelsome(chance.randrange(256)) if index % 2 else all_good)
        for index, name in enumerate(names)
    ]
    for _ in range(25):
        network.run(chance.randrange(200, 3_000))
        one, other = chance.sample(nodes, 2)
        submit(network, one, str(network.now).encode(), large(str(network.now)))
        if chance.random() < 0.2:
            network.stop(one)
            network.run(chance.randrange(3_000))
            index = nodes.index(one)
            nodes[index] = network.add(names[index], judge=one.judge, records=one.records)
        elif other.who.id in one.peers:
            network.disconnect(one, other)
        else:
            network.connect(one, other)
    for index, node in enumerate(nodes):
        for other in nodes[index + 1 :]:
            if other.who.id not in node.peers:
                network.connect(node, other)
    network.run(20_000)
    network.run_until(lambda: len({node.machine.status.head for node in nodes}) == 1, 60_000)
    return nodes


@pytest.mark.parametrize("seed", range(5))
def test_a_shaken_network_comes_to_rest_on_one_chain_and_no_honest_peer_is_refused(seed: int) -> None:
    nodes = shaken_network(seed)
    assert [(node.halted, node.refused, node.accused) for node in nodes] == [(None, [], [])] * 5
    assert min(node.machine.status.height for node in nodes) > 20
    assert [node.machine.status.payloads_wanted for node in nodes] == [0] * 5
    assert all(len(node.listed(node.machine.status.head)) > 5 for node in nodes)
