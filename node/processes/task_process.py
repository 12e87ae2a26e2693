"""A user's task, run in a process of its own: if it hangs, crashes or leaves, that process alone ends, and is started again.

The learner waits for each answer, for so long as one is allowed; it never loads the task itself. The process is forked from
the learner, and the system ends it with the learner, whatever it is busy with.
"""

import ctypes
import io
import mmap
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TypeVar

import numpy as np

from learning.asked_task import AskedTask, FaultKind, TaskFault, TaskFaultError
from learning.task import Float32Array, Float64Array, Int64Array, Layout, Minibatch, Task, TaskError

T = TypeVar("T")

SHARED_BYTES = 8 * 2**20
"""Candidates lie in memory that both processes see: a slice of a search fits. What does not goes through the pipe."""

START_TIMES = 10
"""A call is late after what one is allowed, or so many times what the first ones took: a large model on a busy machine."""

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent ends."""

Load = Callable[[], Task]
"""Raises TaskError."""


@dataclass(frozen=True, slots=True)
class TaskTold:
    """What is asked of a loaded task once."""

    name: str
    layout: Layout
    data_digest: bytes
    labels: Int64Array | None
    """None: it has no gradient."""


@dataclass(frozen=True, slots=True)
class TaskRefused:
    """Why there is no task; `fix` as in `TaskError`."""

    reason: str
    fix: str | None


@dataclass(frozen=True, slots=True)
class SharedRows:
    """An argument that lies in the shared memory: float32 of this shape."""

    shape: tuple[int, ...]


class LearnerAbandonedError(EOFError):
    """The peer has gone while its learner waited for a task."""


# --- the task's side ---------------------------------------------------------------------------------------------------


def _serve(pipe: Connection, memory: mmap.mmap, load: Load) -> None:
    """Answer until the learner has gone."""
    try:
        asked = AskedTask(load())
        labels = asked.sample_labels if asked.has_gradient else None
        pipe.send(TaskTold(asked.name, asked.layout, asked.data_digest, labels))
    except TaskError as error:
        pipe.send(TaskRefused(str(error), error.fix))
        return
    methods: Mapping[str, Callable[..., object]] = {
        method.__name__: method
        for method in (asked.draw_batch, asked.scores, asked.fitness, asked.metrics, asked.minibatch, asked.gradient)
    }
    while True:
        name, arguments = pipe.recv()
        try:
            pipe.send(_plain(methods[name](*(_unpacked(argument, memory) for argument in arguments))))
        except TaskFaultError as error:
            pipe.send(error.fault)


def _plain(answer: object) -> object:
    """Without a user's classes, which the learner could not read."""
    match answer:
        case np.ndarray():
            return np.asarray(answer)
        case Minibatch(inputs, labels):
            return Minibatch(np.asarray(inputs), np.asarray(labels))
        case _:
            return answer


def _unpacked(argument: object, memory: mmap.mmap) -> object:
    if not isinstance(argument, SharedRows):
        return argument
    return np.frombuffer(memory, dtype=np.float32, count=int(np.prod(argument.shape))).reshape(argument.shape)


def _run_child(pipe: Connection, memory: mmap.mmap, load: Load, parent: int) -> None:
    """The whole life of the process; never returns into what the learner was doing when it was forked."""
    code = 1
    try:
        _end_with(parent)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # what it prints is not lost when it is killed
        _serve(pipe, memory, load)
        code = 0
    except (EOFError, OSError):  # the learner has gone
        code = 0
    except BaseException as error:  # noqa: BLE001 - the last frame of this process: there is nobody above to tell
        sys.stderr.write(f"the task's process ends: {error!r}\n")
    finally:
        os._exit(code)


def _end_with(parent: int) -> None:
    """Linux: be killed when the learner ends. Elsewhere a task that hangs outlives a learner that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended in between
            os._exit(0)


# --- the learner's side ------------------------------------------------------------------------------------------------


class TaskProcess:
    """The task, as the learner sees it. Implements `Task`; every call may raise TaskFaultError, for being late, too."""

    def __init__(self, name: str, load: Load, seconds_max: float, owner: Connection) -> None:
        """`load`: makes the task, in its process. `seconds_max`: what a call may take. `owner`: to the peer.

        Waits for as long as loading takes. Raises TaskError.
        """
        self.name = name
        self._load = load
        self._owner = owner
        self._memory = mmap.mmap(-1, SHARED_BYTES)
        self._pid = 0
        self._seconds_max = seconds_max
        self._is_watched = False
        self._load_seconds = self._call_seconds = 0.0
        """The longest so far, while nothing was watched."""
        told = self._start()
        self.name, self.layout, self.data_digest = told.name, told.layout, told.data_digest
        self.sample_labels = told.labels
        """None: it has no gradient."""

    @property
    def pid(self) -> int:
        """Of the process; 0 while there is none."""
        return self._pid

    def watch(self) -> None:
        """From now on a call has a limit. Before that the learner's start was waited for, however long it took."""
        self._is_watched = True

    def draw_batch(self, seed: bytes) -> Int64Array:
        """The task's own."""
        return self._ask(np.ndarray, "draw_batch", seed)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """The task's own."""
        return self._ask(np.ndarray, "scores", candidates, batch)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """The task's own."""
        return self._ask(float, "fitness", parameters, batch)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """The task's own."""
        return self._ask(dict, "metrics", parameters)

    def minibatch(self, rows: Int64Array) -> Minibatch:
        """The task's own."""
        return self._ask(Minibatch, "minibatch", rows)

    def gradient(self, parameters: Float32Array, minibatch: Minibatch) -> Float32Array:
        """The task's own."""
        return self._ask(np.ndarray, "gradient", parameters, minibatch)

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._pid:
            self._end()

    # --- the process ---

    def _start(self) -> TaskTold:
        """Fork, and wait until the task is loaded there. Raises TaskError."""
        self._pipe, theirs = Pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            self._pipe.close()
            self._owner.close()
            _run_child(theirs, self._memory, self._load, parent)
        theirs.close()
        began = time.monotonic()
        answer = self._answer("loading", self._load_seconds)
        self._load_seconds = max(self._load_seconds, time.monotonic() - began)
        if isinstance(answer, TaskRefused):
            self._end()
            raise TaskError(answer.reason, answer.fix)
        assert isinstance(answer, TaskTold), f"a task that tells {answer!r}"
        return answer

    def _ask(self, kind: type[T], method: str, *arguments: object) -> T:
        if not self._pid:
            self._start_again(method)
        began = time.monotonic()
        with suppress(OSError):  # it has ended since the last answer, as is seen next
            self._pipe.send((method, [self._packed(argument) for argument in arguments]))
        answer = self._answer(method, self._call_seconds)
        if not self._is_watched:
            self._call_seconds = max(self._call_seconds, time.monotonic() - began)
        if isinstance(answer, TaskFault):
            raise TaskFaultError(self.name, answer)
        if not isinstance(answer, kind):
            raise self._error(method, FaultKind.FORM, f"is a {type(answer).__name__}")
        return answer

    def _start_again(self, method: str) -> None:
        """What is wrong with it now is wrong with the call that needs it."""
        try:
            told = self._start()
        except TaskFaultError:
            raise
        except TaskError as error:
            raise self._error(method, FaultKind.ENDED, f"cannot be asked: {error}") from error
        if (told.layout, told.data_digest) != (self.layout, self.data_digest):
            self._end()
            raise self._error(method, FaultKind.ENDED, "cannot be asked: the task is another one than at the start")

    def _packed(self, argument: object) -> object:
        """Candidates and parameters in the shared memory; a batch, a minibatch and what is too large as they are."""
        if not isinstance(argument, np.ndarray) or argument.dtype != np.float32 or argument.nbytes > SHARED_BYTES:
            return argument
        np.frombuffer(self._memory, dtype=np.float32, count=argument.size).reshape(argument.shape)[...] = argument
        return SharedRows(argument.shape)

    def _answer(self, method: str, longest: float) -> object:
        """Raises TaskFaultError where it comes too late, or the process has ended; it is gone then."""
        limit = max(self._seconds_max, START_TIMES * longest) if self._is_watched else None
        if not self._wait(limit):
            self._end()
            raise self._error(method, FaultKind.LATE, f"took longer than {limit:.4g} s")
        try:
            answer: object = self._pipe.recv()
        except (EOFError, OSError) as error:
            code = self._end()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise self._error(method, FaultKind.ENDED, f"has not come back: its process {how}") from error
        return answer

    def _wait(self, limit: float | None) -> bool:
        """Until there is an answer, or an end; False: in vain. Raises LearnerAbandonedError, which ends the learner."""
        poll = select.poll()
        poll.register(self._pipe.fileno(), select.POLLIN)
        poll.register(self._owner.fileno(), 0)  # of the peer's pipe only whether it is still there
        events = dict(poll.poll(None if limit is None else 1000 * limit))
        if self._pipe.fileno() not in events and self._owner.fileno() in events:
            self._end()
            raise LearnerAbandonedError("the peer has gone")
        return bool(events)

    def _end(self) -> int:
        """Kill it; its exit code, negative for a signal that had come before."""
        os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        self._pipe.close()
        return os.waitstatus_to_exitcode(status)

    def _error(self, method: str, kind: FaultKind, found: str) -> TaskFaultError:
        return TaskFaultError(self.name, TaskFault(method, kind, found, "an answer"))
