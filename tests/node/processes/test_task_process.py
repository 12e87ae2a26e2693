"""A user's task in a process of its own: whatever it does to that process, its learner goes on, and knows what happened."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import numpy as np
import psutil
import pytest

from learning.asked_task import TaskFaultError
from learning.checked_task import CheckedDifferentiableTask, CheckedTask
from learning.task import DifferentiableTask, Float32Array, TaskError
from learning.tasks.loading import load_task
from node.lab.scenarios.toy_tasks import QuadraticTask, SphereTask
from node.processes.task_process import LearnerAbandonedError, TaskProcess

SECONDS_MAX = 1.5
BATCH = np.zeros(1, dtype=np.int64)

TASK = """
import ctypes, os, sys, time
import numpy as np
from learning.task import ParameterBlock
from learning.tasks.black_box import ScoreTask

def score(parameters):
    mood = int(parameters[0])
    if mood == 1:
        time.sleep(1000)
    if mood == 2:
        while True:
            pass
    if mood == 3:
        ctypes.PyDLL(None).sleep(1000)  # in C, holding the interpreter's lock
    if mood == 4:
        os._exit(7)
    if mood == 5:
        os.kill(os.getpid(), 9)  # as the system does it where memory runs out
    if mood == 6:
        sys.exit("enough")
    if mood == 7:
        raise KeyError("seven")
    time.sleep(max(0, -mood))
    return -float(np.square(parameters[1:]).sum())

task = ScoreTask("moody", (ParameterBlock("point", (6,), 1),), score, bytes(32))
"""
SLEEPS, SPINS, SLEEPS_IN_C, LEAVES, CRASHES, EXITS, RAISES = range(1, 8)

Make = Callable[[str], TaskProcess]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Make]:
    peer, owner = Pipe()
    processes = []

    def make(source: str) -> TaskProcess:
        name = f"{tmp_path.name}_{len(processes)}"
        (tmp_path / f"{name}.py").write_text(source)
        processes.append(TaskProcess(name, partial(load_task, f"{name}:task", tmp_path), SECONDS_MAX, owner))
        return processes[-1]

    yield make
    for process in processes:
        process.stop()
    peer.close()
    owner.close()


def model(mood: float) -> Float32Array:
    return np.array([mood, 1, 1, 1, 1, 1], dtype=np.float32)


def test_it_answers_as_the_task_itself() -> None:
    peer, owner = Pipe()
    own = QuadraticTask()
    process = TaskProcess("quadratic", QuadraticTask, SECONDS_MAX, owner)
    assert (process.name, process.layout, process.data_digest) == (own.name, own.layout, own.data_digest)
    batch = process.draw_batch(bytes(32))
    assert batch.tolist() == own.draw_batch(bytes(32)).tolist()
    candidates = np.random.default_rng(1).normal(0, 0.1, (64, 15)).astype(np.float32)
    assert process.scores(candidates, batch).tolist() == own.scores(candidates, batch).tolist()
    assert process.fitness(candidates[0], batch) == own.fitness(candidates[0], batch)
    assert process.metrics(candidates[0]) == own.metrics(candidates[0])
    task = CheckedDifferentiableTask(CheckedTask(process))
    assert isinstance(task, DifferentiableTask)
    assert task.sample_labels.tolist() == own.sample_labels.tolist()
    minibatch = task.minibatch(np.arange(32, dtype=np.int64))
    assert task.gradient(candidates[0], minibatch).tolist() == own.gradient(candidates[0], minibatch).tolist()
    process.stop()
    peer.close()


def test_more_candidates_than_the_shared_memory_holds_go_through_the_pipe() -> None:
    peer, owner = Pipe()
    own = SphereTask(5_000)
    process = TaskProcess("sphere", partial(SphereTask, 5_000), SECONDS_MAX, owner)
    candidates = np.random.default_rng(1).normal(0, 0.1, (600, 5_000)).astype(np.float32)
    batch = process.draw_batch(bytes(32))
    for count in (600, 64, 1):
        assert process.scores(candidates[:count], batch).tolist() == own.scores(candidates[:count], batch).tolist()
    process.stop()
    peer.close()


@pytest.mark.parametrize(
    ("mood", "found"),
    [
        (SLEEPS, "took longer than 1.5 s"),
        (SPINS, "took longer than 1.5 s"),
        (SLEEPS_IN_C, "took longer than 1.5 s"),
        (LEAVES, "has not come back: its process ended with exit code 7"),
        (CRASHES, f"has not come back: its process was killed by signal {signal.SIGKILL.value}"),
    ],
)
def test_a_call_that_does_not_come_back_ends_the_tasks_process_and_nothing_else(made: Make, mood: int, found: str) -> None:
    process = made(TASK)
    process.watch()
    first = process.pid
    with pytest.raises(TaskFaultError) as raised:
        process.fitness(model(mood), BATCH)
    assert str(raised.value) == f"task 'moody': fitness {found}, expected an answer"
    assert not psutil.pid_exists(first)
    assert process.fitness(model(0), BATCH) == -5.0
    assert process.pid != first


def test_what_a_task_raises_comes_back_and_its_process_stays(made: Make) -> None:
    process = made(TASK)
    first = process.pid
    for mood, found in ((EXITS, "fitness raised SystemExit: enough"), (RAISES, "fitness raised KeyError: 'seven'")):
        with pytest.raises(TaskFaultError, match=found):
            process.fitness(model(mood), BATCH)
    assert process.pid == first


def test_of_a_batch_only_those_that_hang_are_lost(made: Make) -> None:
    process = made(TASK)
    process.watch()
    task = CheckedTask(process)
    scores = task.scores(np.stack([model(mood) for mood in (0, SPINS, 0, LEAVES, RAISES, 0)]), BATCH)
    assert scores.tolist() == [-5.0, -np.inf, -5.0, -np.inf, -np.inf, -5.0]
    assert task.faults.count == 3


def test_the_first_calls_are_waited_for_and_set_the_measure(made: Make) -> None:
    """A start on a busy machine is no hang; and who needs a second for one candidate has ten for the next."""
    process = made(TASK)
    assert process.fitness(model(-1), BATCH) == -5.0
    process.watch()
    assert process.fitness(model(-2), BATCH) == -5.0


def test_a_task_that_cannot_be_loaded_says_why(made: Make) -> None:
    with pytest.raises(TaskError, match=r"importing .* raised ZeroDivisionError"):
        made("task = 1 / 0")
    with pytest.raises(TaskError, match="loading has not come back: its process ended with exit code 3"):
        made("import os; os._exit(3)")


def test_a_task_that_has_become_another_one_is_not_asked(made: Make, tmp_path: Path) -> None:
    process = made(TASK)
    process.watch()
    with pytest.raises(TaskFaultError):
        process.fitness(model(LEAVES), BATCH)
    (file,) = tmp_path.glob("*.py")
    file.write_text(TASK.replace("bytes(32)", "bytes(31) + b'1'"))
    with pytest.raises(TaskFaultError, match="cannot be asked: the task is another one than at the start"):
        process.fitness(model(0), BATCH)


ABANDONED = 42


def be_a_learner(owner: Connection, folder: Path, mood: int) -> NoReturn:
    """A process that is forked: it tells which one runs its task, and waits for an answer that never comes."""
    try:
        process = TaskProcess("orphan", partial(load_task, "orphan_task:task", folder), SECONDS_MAX, owner)
        owner.send(process.pid)
        process.fitness(model(mood), BATCH)
    except LearnerAbandonedError:
        os._exit(ABANDONED)
    finally:
        os._exit(1)


@pytest.mark.parametrize("is_killed", [False, True])
def test_neither_the_learner_nor_its_task_stays_behind(tmp_path: Path, is_killed: bool) -> None:
    """Where the peer goes the learner sees it while it waits; where the learner is killed a task goes with it that hangs."""
    (tmp_path / "orphan_task.py").write_text(TASK)
    peer, owner = Pipe()
    learner = os.fork()
    if not learner:
        peer.close()
        be_a_learner(owner, tmp_path, SLEEPS_IN_C)
    owner.close()
    task = psutil.Process(peer.recv())
    if is_killed:
        os.kill(learner, signal.SIGKILL)
    peer.close()
    _, status = os.waitpid(learner, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if is_killed else ABANDONED)
    psutil.wait_procs([task], timeout=10)
    assert not task.is_running()
