"""The two workers, as real processes forked from the real server."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import pytest

from consensus.effects import SolvePuzzle, StopPuzzle, VerifyPuzzle
from consensus.proof_of_work.puzzle import is_solved
from consensus.protocol import PuzzleSolved, PuzzleVerified
from consensus.types import StepId
from learning.evolution.rules import EvolutionRules
from learning.gradient.rules import GradientRules
from learning.learner import (
    AdoptRequest,
    AssessRequest,
    AuthoredPayload,
    ContributionAssessed,
    ContributionFound,
    Participant,
    StepAdopted,
)
from node.processes.effort import LearnerEffort
from node.processes.learner import (
    LEARNER_NICENESS,
    LearnerFailed,
    LearnerMessage,
    LearnerReady,
    LearnerSpec,
    SearchRate,
    run_learner_process,
)
from node.processes.process import WorkerProcess, forkserver
from node.processes.puzzle import MINER_NICENESS, NONCES, DutyCycle, PuzzleAnswer, PuzzleSpec, _Miner, run_puzzle_process
from tests.node.real_peers import ROOT

pytestmark = pytest.mark.processes

STEP = StepId(b"s" * 32)
MEMORY_KIB = 64
EASY = 2**256 // 20
NEVER = 0

Answer = TypeVar("Answer")


async def next_of(kind: type[Answer], answers: "asyncio.Queue[object]", seconds: float = 60) -> Answer:
    """The next answer of this kind."""
    async with asyncio.timeout(seconds):
        while not isinstance(answer := await answers.get(), kind):
            pass
        return answer


def with_puzzle_process(talk: Callable[[WorkerProcess, asyncio.Queue], Awaitable[None]]) -> None:
    async def run() -> None:
        answers: asyncio.Queue[PuzzleAnswer] = asyncio.Queue()
        worker = WorkerProcess("puzzle", run_puzzle_process, PuzzleSpec(MEMORY_KIB, 0.5), answers.put_nowait)
        try:
            await talk(worker, answers)
        finally:
            await worker.stop()

    asyncio.run(run())


def test_a_puzzle_is_solved_and_another_replaces_it() -> None:
    async def talk(worker: WorkerProcess, answers: asyncio.Queue) -> None:
        worker.ask(SolvePuzzle(b"hopeless", NEVER))
        worker.ask(SolvePuzzle(b"easy", EASY))
        solved = await next_of(PuzzleSolved, answers)
        assert solved.prefix == b"easy"
        assert is_solved(b"easy", solved.nonce, EASY, MEMORY_KIB)

    with_puzzle_process(talk)


def test_verifying_comes_while_a_hopeless_puzzle_is_worked_on() -> None:
    async def talk(worker: WorkerProcess, answers: asyncio.Queue) -> None:
        worker.ask(SolvePuzzle(b"hopeless", NEVER))
        worker.ask(VerifyPuzzle(STEP, b"any", 1, 2**256 - 1))
        worker.ask(VerifyPuzzle(STEP, b"any", 1, NEVER))
        assert await next_of(PuzzleVerified, answers) == PuzzleVerified(STEP, True)
        assert await next_of(PuzzleVerified, answers) == PuzzleVerified(STEP, False)
        worker.ask(StopPuzzle())

    with_puzzle_process(talk)


def test_an_attempt_during_which_others_had_the_processor_costs_no_longer_rest() -> None:
    passed, given = 0.0, 0.0
    pace = DutyCycle(0.25, lambda: passed, lambda: given)
    assert pace.seconds_to_rest() == 0.0
    pace.begin()
    passed, given = 60.0, 0.5
    pace.end()
    assert pace.seconds_to_rest() == 1.5
    passed = 61.0
    assert pace.seconds_to_rest() == 0.5
    passed = 70.0
    assert pace.seconds_to_rest() == 0.0


def test_a_killed_worker_is_noticed() -> None:
    async def talk(worker: WorkerProcess, answers: asyncio.Queue) -> None:
        worker.ask(VerifyPuzzle(STEP, b"any", 1, NEVER))
        await next_of(PuzzleVerified, answers)
        os.kill(worker.pid, signal.SIGKILL)
        assert await asyncio.wait_for(worker.exit_code(), 10) == -9

    with_puzzle_process(talk)


def learner_spec(task: str, folder: Path) -> LearnerSpec:
    rules = EvolutionRules(16, 1, "0.1", "1", "0.1", 10, 0)
    return LearnerSpec(task, str(folder), rules, Participant(bytes(32), b"a" * 32, b"g" * 32), None)


def with_learner(spec: LearnerSpec, talk: Callable[[WorkerProcess, asyncio.Queue], Awaitable[None]]) -> None:
    async def run() -> None:
        answers: asyncio.Queue[LearnerMessage] = asyncio.Queue()
        worker = WorkerProcess("learner", run_learner_process, spec, answers.put_nowait)
        try:
            await talk(worker, answers)
        finally:
            await worker.stop()

    asyncio.run(run())


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_the_miner_stands_beside_the_search_which_takes_whatever_is_left(tmp_path: Path) -> None:
    """So that a machine that is busy, be it with our own search, leaves the miner something, and the search, too."""
    found = {}

    async def talk_to_miner(worker: WorkerProcess, answers: asyncio.Queue) -> None:
        worker.ask(VerifyPuzzle(STEP, b"any", 1, NEVER))
        await next_of(PuzzleVerified, answers)
        found["miner"] = niceness(worker.pid) - niceness(0)

    async def talk_to_learner(worker: WorkerProcess, answers: asyncio.Queue) -> None:
        await next_of(LearnerReady, answers)
        found["learner"] = niceness(worker.pid) - niceness(0)

    with_puzzle_process(talk_to_miner)
    with_learner(learner_spec("rosenbrock", tmp_path), talk_to_learner)
    assert found == {"miner": MINER_NICENESS, "learner": LEARNER_NICENESS}
    assert found["miner"] == found["learner"] > 0


def test_the_learner_searches_between_requests(tmp_path: Path) -> None:
    async def talk(worker: WorkerProcess, answers: asyncio.Queue) -> None:
        ready = await next_of(LearnerReady, answers)
        assert sum(block.size for block in ready.layout) > 0
        worker.ask(AdoptRequest(b"g" * 32))
        adopted = await next_of(StepAdopted, answers)
        assert (adopted.step, adopted.height) == (b"g" * 32, 0)
        found = await next_of(ContributionFound, answers)
        digest = hashlib.blake2b(found.payload, digest_size=32).digest()
        worker.ask(AssessRequest(AuthoredPayload(digest, b"a" * 32, found.base, found.payload)))
        assessed = await next_of(ContributionAssessed, answers)
        assert (assessed.digest, assessed.verdict) == (digest, "good")
        assert (await next_of(SearchRate, answers)).candidates_per_second > 0
        effort = await next_of(LearnerEffort, answers)
        assert 0 < effort.scoring_s < effort.ranking_s < effort.busy_s

    with_learner(learner_spec("rosenbrock", tmp_path), talk)


def test_a_worker_finds_nothing_before_it_is_asked(tmp_path: Path) -> None:
    """What it said before its peer is ready would be lost, and it would wait for that gradient's coming for ever."""

    async def talk(worker: WorkerProcess, answers: asyncio.Queue) -> None:
        await next_of(LearnerReady, answers)
        await asyncio.sleep(0.5)
        assert answers.empty()
        worker.ask(AdoptRequest(b""))
        kinds = {type(await asyncio.wait_for(answers.get(), 60)) for _ in range(2)}
        assert kinds == {StepAdopted, ContributionFound}

    rules = GradientRules("mean", "1", "0", 32, 16, 10, 8, "whole", 0)
    spec = learner_spec("digits", tmp_path)
    spec = replace(spec, rules=rules, participant=replace(spec.participant, members=(b"a" * 32,)))
    with_learner(spec, talk)


def test_a_task_that_cannot_be_loaded_is_told_in_words(tmp_path: Path) -> None:
    async def talk(worker: WorkerProcess, answers: asyncio.Queue) -> None:
        failed = await next_of(LearnerFailed, answers)
        assert "digitz" in failed.reason
        assert "digits" in failed.reason

    with_learner(learner_spec("digitz", tmp_path), talk)


def tell_parent(pipe: Connection, _: None) -> None:
    """A worker that tells which process it was forked from, and prints where its peer prints."""
    os.write(1, b"printed by the worker\n")
    pipe.send(os.getppid())
    pipe.poll(None)


def be_a_peer(result: Connection, screen: str) -> None:
    """A process that is forked itself, like a testnet's peer, and has a worker."""
    os.dup2(os.open(screen, os.O_WRONLY | os.O_CREAT), 2)

    async def run() -> None:
        answers: asyncio.Queue[int] = asyncio.Queue()
        worker: WorkerProcess[None, None, int] = WorkerProcess("worker", tell_parent, None, answers.put_nowait)
        parent = await answers.get()
        await worker.stop()
        result.send((os.getppid(), parent))

    asyncio.run(run())


def test_a_forked_peers_workers_come_from_the_server_that_forked_it(tmp_path: Path) -> None:
    context = forkserver()
    ours, theirs = context.Pipe()
    peer = context.Process(target=be_a_peer, args=(theirs, str(tmp_path / "log")))
    peer.start()
    theirs.close()
    assert ours.poll(60)
    parent_of_peer, parent_of_worker = ours.recv()
    peer.join(10)
    assert parent_of_worker == parent_of_peer
    assert (tmp_path / "log").read_text() == "printed by the worker\n"


SECOND_CLONE = """
import sys

sys.path.insert(0, {clone!r})

from node.processes.process import forkserver, start_process


def tell_preloaded(pipe):
    pipe.send(sys.modules["node.runtime.preload"].__file__)


if __name__ == "__main__":
    ours, theirs = forkserver().Pipe()
    start_process(forkserver().Process(target=tell_preloaded, args=(theirs,)))
    theirs.close()
    print(ours.recv())
"""


def test_a_worker_runs_the_clone_that_started_it_whichever_is_installed(tmp_path: Path) -> None:
    clone, script = tmp_path / "clone", tmp_path / "script.py"
    clone.mkdir()
    for room in ("consensus", "learning", "node"):
        (clone / room).symlink_to(ROOT / room)
    script.write_text(SECOND_CLONE.format(clone=str(clone)))
    told = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(clone / "node" / "runtime" / "preload.py")


def test_mining_keeps_half_of_the_work_however_many_puzzles_are_to_be_verified() -> None:
    ours, theirs = Pipe()
    miner = _Miner(theirs, PuzzleSpec(MEMORY_KIB, 1.0))
    ours.send(SolvePuzzle(b"hopeless", NEVER))
    for _ in range(50):
        ours.send(VerifyPuzzle(STEP, b"any", 1, NEVER))
    miner.work_once()
    first_nonce = miner._nonce  # attempts at a hopeless puzzle are told to nobody
    for _ in range(60):
        miner.work_once()
    assert (miner._nonce - first_nonce) % NONCES == 30
    ours.close()
    theirs.close()
