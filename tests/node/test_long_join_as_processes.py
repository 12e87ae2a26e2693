"""On real sockets, too, a newcomer arrives: at a chain of 2,000 blocks, while its two servers go on leading."""

import asyncio
import re
import time
from pathlib import Path

import pytest

from consensus.encoding import encode
from consensus.proof_of_work.header import Body
from consensus.proof_of_work.records import block_key
from consensus.steps import genesis_step
from consensus.types import Digest, Height
from learning.evolution.learner import EvolutionLearner
from learning.evolution.rules import EvolutionRules
from learning.evolution.search import SearchSettings
from learning.learner import AdoptRequest, FinaliseRequest, Participant, ProposedStep, ReplayRequest, StepOffered
from learning.tasks.loading import load_task
from node.rules.conversion import learning_rules, proof_of_work_rules
from node.rules.network_file import parse_network_text
from node.rules.network_rules import network_id
from node.storage.folder import NodeFolder
from node.storage.tables import Row
from tests.consensus.proof_of_work.forge import Forge, Forged, Person
from tests.node.real_peers import RunningPeer, run

pytestmark = [pytest.mark.processes, pytest.mark.timeout(280)]

LENGTH = 2_000
TASK = "tests.learning.sphere:SphereTask"
"""Two thousand models are checked in a moment."""

FINAL_EVERY = 64
"""What the learner that makes the chain keeps."""


def made_folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of one network whose puzzles cost next to nothing."""
    made = run("init", str(tmp_path / "made"), "--task", TASK, "--strategy", "plus", "--finality-depth", "32")
    assert made.returncode == 0, made.stderr
    text = (tmp_path / "made" / "network.toml").read_text()
    rules = parse_network_text(re.sub(r"puzzle_memory_kib = \d+", "puzzle_memory_kib = 8", text))
    for name in ("one", "two"):
        NodeFolder.create(tmp_path / name, rules)
    return tmp_path / "one", tmp_path / "two"


def made_chain(folder: NodeFolder) -> list[Forged]:
    """Blocks that change nothing, claimed as the real learner measures them; the last one is a second old."""
    rules, identity = folder.rules, folder.identity
    name = network_id(rules)
    evolution = learning_rules(rules)
    assert isinstance(evolution, EvolutionRules)
    genesis = genesis_step(name)
    participant = Participant(name, identity.peer_id, genesis)
    learner = EvolutionLearner(load_task(rules.task.name), evolution, participant, SearchSettings())
    forge, leader = Forge(proof_of_work_rules(rules), name), Person(identity.peer_id, identity.sign)
    time_ms = int(time.time() * 1000) - 500 * LENGTH
    chain: list[Forged] = []
    for _ in range(LENGTH):
        parent = chain[-1].link if chain else forge.genesis
        offer = next(answer for answer in learner.handle(AdoptRequest(parent.id)) if isinstance(answer, StepOffered))
        body = Body((), offer.claim, Digest(offer.state_digest))
        time_ms += 500
        made = forge.forged(parent, forge.seal(forge.draft(parent, leader, body, time_ms), body, leader))
        step = ProposedStep(made.id, parent.id, made.link.height, leader.id, (), offer.claim, offer.state_digest)
        learner.handle(ReplayRequest(step))
        if made.link.height % FINAL_EVERY == 0:
            learner.handle(AdoptRequest(made.id))
            learner.handle(FinaliseRequest(made.id))
        chain.append(made)
    return chain


def rows_of(chain: list[Forged], final_height: int) -> list[Row]:
    final = chain[final_height - 1]
    blocks: list[Row] = [("block", block_key(made.link.height, made.id), encode(made.block)) for made in chain]
    verdicts: list[Row] = [("verdict", made.id, b"good") for made in chain]
    return [*blocks, *verdicts, ("final", b"final", block_key(Height(final_height), final.id))]


def test_a_newcomer_joins_a_chain_of_two_thousand_blocks(tmp_path: Path) -> None:
    one, two = made_folders(tmp_path)
    with NodeFolder.open(one) as folder:
        rows = rows_of(made_chain(folder), LENGTH - folder.rules.proof_of_work.finality_depth)
        asyncio.run(folder.store.write(rows))
    with NodeFolder.open(two) as folder:
        asyncio.run(folder.store.write(rows))
    first = RunningPeer.start(one, "--trust-task", TASK)
    second = RunningPeer.start(two, "--trust-task", TASK, "--peer", f"127.0.0.1:{first.port}")
    peers = [first, second]
    try:
        for peer in peers:
            peer.wait_until(lambda status: status["height"] >= LENGTH and len(status["peers"]) == 1)
        dial = [argument for peer in peers for argument in ("--peer", f"127.0.0.1:{peer.port}")]
        rules = ("--network", str(one / "network.toml"), "--trust-task", TASK)
        third = RunningPeer.start(tmp_path / "three", *rules, *dial)
        peers.append(third)
        third.wait_until(lambda status: status["height"] >= LENGTH, seconds=150)
        newest = first.status()
        assert newest is not None
        third.wait_until(lambda status: status["final_height"] >= newest["final_height"], seconds=60)
        assert newest["height"] > LENGTH
        assert [peer.stop() for peer in peers] == [0, 0, 0]
    finally:
        for peer in peers:
            if peer.process.poll() is None:
                peer.kill()
