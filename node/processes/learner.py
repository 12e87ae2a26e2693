"""The learner's process: answers requests first, searches in the time that is left."""

import gc
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import threadpoolctl

from learning.aggregation.catalogue import needs_scores
from learning.checked_task import CheckedDifferentiableTask, CheckedTask, TaskFaults
from learning.evolution.generations import Generations
from learning.evolution.joint_block_learner import JointBlockLearner
from learning.evolution.joint_blocks import lists_max
from learning.evolution.joint_learner import JointGenerations
from learning.evolution.learner import EvolutionLearner
from learning.evolution.mutation_candidates import MutationCandidates
from learning.evolution.pace import Clock
from learning.evolution.rules import EvolutionRules, Strategy
from learning.evolution.search import SearchSettings
from learning.exact import ExactArithmeticError, self_test
from learning.following.line import LineLearner
from learning.gradient.block_learner import BlockLearner
from learning.gradient.ledger import Gradients
from learning.gradient.rules import CHECK_MS_MAX_DEFAULT, GradientRules
from learning.gradient.step_candidates import StepCandidates
from learning.gradient.stream import GradientStream
from learning.gradient.worker import MakeWorker, Worker
from learning.learner import (
    AssessRequest,
    CheckRequest,
    DeliverRequest,
    Learner,
    LearnerAnswer,
    LearnerRequest,
    Participant,
    SearchProgress,
    StateKept,
)
from learning.models.rules import UNCHANGED, ModelRules
from learning.state import checkpoint_digest, encode_kept_state
from learning.task import DifferentiableTask, Layout, Task, TaskError, differentiable, frame_of, without_values
from learning.tasks.files import data_folder
from learning.tasks.heterogeneous import ShardedTask
from learning.tasks.loading import is_own_task, load_task
from learning.tasks.shards import OwnSamples, ShardKind, parse_shards, rows_for, rows_of, shard_of
from node.common.errors import NodeError, fix_of_task
from node.processes.effort import LearnerEffort, Stopwatch, Work
from node.processes.process import WorkerProcess
from node.processes.task_process import TaskProcess
from node.rules.settings import SCORE_SECONDS_DEFAULT
from node.storage.export import store_frame
from node.storage.store import StoredPayloads

LEARNER_NICENESS = 5
"""Behind the event loop, beside the miner, which is held to its share."""


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """What the process is told at its start. `restored`: a final state from the store, or None for genesis."""

    task: str
    folder: str
    """Where a user's own task module is looked for, besides the installed packages."""
    rules: EvolutionRules | GradientRules
    participant: Participant
    restored: StateKept | None
    search: SearchSettings = field(default_factory=SearchSettings)
    """Of evolution alone."""
    check_ms_max: int = CHECK_MS_MAX_DEFAULT
    """Under proof of work: about so long a core may take to check a block of gradients, or of lists."""
    score_seconds_max: float = SCORE_SECONDS_DEFAULT
    """What a call into a user's own task may take; one candidate, or a batch of them."""
    store: str = ""
    """The peer's database: gradients read large payloads from it."""
    model: ModelRules = UNCHANGED
    """What the network changes about the task's model."""
    data_digest: str = ""
    """Of the network's task, in hexadecimal: of another one nothing is left in the peer's folder."""
    clock: Clock = time.monotonic
    """Says how long its search takes, and the rest; it crosses the pipe, too."""
    make: "MakeLearner" = field(default_factory=lambda: make_learner)
    """Crosses the pipe with the rest: a function of a module, or a value that can be called."""


MakeLearner = Callable[[Task, LearnerSpec, Gradients], Learner]
"""Raises TaskError."""


@dataclass(frozen=True, slots=True)
class LearnerReady:
    """The task is loaded and the arithmetic tested."""

    layout: Layout
    data_digest: bytes


@dataclass(frozen=True, slots=True)
class LearnerFailed:
    """The process cannot go on; `reason` is for the user."""

    reason: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class TaskFaulted:
    """The task has failed at something, and the learner goes on. `lines`: for people, each kind of fault once."""

    lines: tuple[str, ...]
    count: int
    """Since the start."""


@dataclass(frozen=True, slots=True)
class SearchRate:
    """Candidates tried per second since the last such message."""

    candidates_per_second: float


LearnerMessage = LearnerReady | LearnerFailed | TaskFaulted | SearchRate | LearnerEffort | LearnerAnswer
LearnerWorker = WorkerProcess[LearnerSpec, LearnerRequest, LearnerMessage]

PROGRESS_SECONDS = 1.0
"""How often the rate of search is told."""


def run_learner_process(pipe: Connection, spec: LearnerSpec) -> None:
    """The process's whole life: ends when the pipe is closed from the other side, or with a LearnerFailed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(LEARNER_NICENESS)
    _one_thread()
    try:
        _LearnerLoop(pipe, spec).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the node has ended, and we with it
        return
    except TaskError as error:
        pipe.send(LearnerFailed(str(error), fix_of_task(spec.task, error.fix)))
    except ExactArithmeticError as error:
        pipe.send(LearnerFailed(str(error)))


def _one_thread() -> None:
    """More cores mean more processes: two threads of torch or of numpy's BLAS, under load, do less than one.

    Measured with other processes beside it: Kardam's judge takes 14 ms with one BLAS thread, and 80 to 970 ms with two.
    """
    import torch  # noqa: PLC0415 - the node's own process imports this module, but never torch

    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(limits=1)


def make_learner(task: Task, spec: LearnerSpec, gradients: Gradients, make_worker: MakeWorker = Worker) -> Learner:
    """The learner that the spec asks for. `gradients`: where it finds large payloads. Raises TaskError."""
    if isinstance(spec.rules, GradientRules):
        return _gradient_learner(task, spec, spec.rules, gradients, make_worker)
    return _evolution_learner(own_part(task, spec.participant, spec.rules), spec, spec.rules)


def own_part(task: Task, participant: Participant, rules: EvolutionRules) -> Task:
    """The task as this peer measures it: on its own shard of the training samples, where members have shards.

    Raises TaskError when the task has no samples, or too few.
    """
    shards = parse_shards(rules.shards)
    if shards.kind is ShardKind.WHOLE:
        return task
    if not isinstance(task, DifferentiableTask):
        raise TaskError(f"task {task.name!r} has no training samples that shards could be cut from", 'set shards to "whole"')
    rows = rows_of(participant.author, participant.members, task.sample_labels, shards, participant.network_id)
    return ShardedTask(task, rows)


def _evolution_learner(task: Task, spec: LearnerSpec, rules: EvolutionRules) -> Learner:
    """With members: they decide by their scores; without: every step is checked by everybody."""
    participant = spec.participant
    if participant.members and rules.strategy is Strategy.JOINT:
        return LineLearner(JointGenerations(task, rules, participant, spec.search, spec.clock), spec.restored)
    if participant.members:
        return LineLearner(Generations(MutationCandidates(task, rules, participant, spec.search), participant), spec.restored)
    if rules.strategy is Strategy.JOINT:
        lists = lists_max(sum(block.size for block in task.layout), spec.check_ms_max)
        return JointBlockLearner(task, rules, participant, spec.search, spec.restored, lists_max=lists)
    return EvolutionLearner(task, rules, participant, spec.search, spec.restored)


def _gradient_learner(
    task: Task, spec: LearnerSpec, rules: GradientRules, gradients: Gradients, make_worker: MakeWorker
) -> Learner:
    """With members: the order that they agree on; without: the order of the leaders' blocks."""
    trained, participant = differentiable(task), spec.participant
    index, count = shard_of(participant.author, participant.members, rules.shard_count)
    shard = rows_for(trained.sample_labels, parse_shards(rules.shards), count, index, participant.network_id)
    rows = OwnSamples(trained, shard, participant.author)
    if participant.members and needs_scores(rules.rule):
        steps = StepCandidates(trained, rules, participant, gradients, rows, make_worker)
        return LineLearner(Generations(steps, participant), spec.restored)
    if participant.members:
        return LineLearner(GradientStream(trained, rules, participant, gradients, rows, make_worker), spec.restored)
    return BlockLearner(
        trained, rules, participant, gradients, rows, spec.restored, make_worker, check_ms_max=spec.check_ms_max
    )


def loaded(name: str, model: ModelRules, peer: Path, folder: Path = Path()) -> Task:
    """The network's task. Weights are looked for in `folder` (the current one), the peer's, and that of the user's data.

    Raises TaskError.
    """
    return load_task(name, folder, model, (folder, peer, data_folder()))


def _task_of(spec: LearnerSpec) -> Task:
    """The task, with what an export needs of it left in the peer's folder. Raises TaskError."""
    peer = Path(spec.store).parent
    task = loaded(spec.task, spec.model, peer, Path(spec.folder))
    try:
        if task.data_digest.hex() == spec.data_digest:
            store_frame(peer, frame_of(task))
    except NodeError as error:
        raise TaskError(error.message, error.fix) from error
    return task


class _LearnerLoop:
    def __init__(self, pipe: Connection, spec: LearnerSpec) -> None:
        self_test()
        self._pipe = pipe
        self._faults = TaskFaults()
        self._faults_told = 0
        self._faults_told_at = time.monotonic()
        process = self._task_process(spec) if is_own_task(spec.task) else None
        task = self._checked(_task_of(spec) if process is None else process)
        self._has_been_asked = False
        self._learner = spec.make(task, spec, StoredPayloads(Path(spec.store)))
        self._share = SearchShare()
        self._slice_seconds = 0.0
        """What the last slice of search took."""
        self._tried_before = 0
        self._reported_at = time.monotonic()
        self._stopwatch = Stopwatch(self._reported_at)
        gc.freeze()  # torch's modules are there for good: a collection that goes through them takes 130 ms
        pipe.send(LearnerReady(without_values(task.layout), task.data_digest))
        self._tell_faults()
        if process is not None:
            process.watch()

    def _task_process(self, spec: LearnerSpec) -> TaskProcess:
        """Code of a user's own, which may do anything."""
        return TaskProcess(spec.task, partial(_task_of, spec), spec.score_seconds_max, self._pipe)

    def _checked(self, task: Task) -> Task:
        """Raises TaskError."""
        checked = CheckedTask(task, self._faults)
        return CheckedDifferentiableTask(checked) if checked.asked.has_gradient else checked

    def run(self) -> None:
        """Nothing is searched before the first request: until then nobody is there who could take what is found."""
        while True:
            is_searching = self._has_been_asked and self._learner.is_searching
            is_asked = self._pipe.poll(0)
            if not is_asked:
                self._share.on_rest()
            if is_searching and (not is_asked or self._share.is_due(self._slice_seconds)):
                self._search()
            else:
                request: LearnerRequest = self._pipe.recv()
                self._has_been_asked = True
                began = time.monotonic()
                self._send(self._learner.handle(request))
                self._share.on_answer(request, time.monotonic() - began)
                self._spent(Work.SCORING if isinstance(request, AssessRequest | CheckRequest) else Work.OTHER, began)
            self._tell_faults()

    def _search(self) -> None:
        began = time.monotonic()
        work = Work.SCORING if self._learner.is_scoring else Work.RANKING
        self._send(self._learner.search())
        self._slice_seconds = time.monotonic() - began
        self._share.on_search(self._slice_seconds)
        self._spent(work, began)

    def _spent(self, work: Work, began: float) -> None:
        effort = self._stopwatch.add(work, began, time.monotonic())
        if effort is not None:
            self._pipe.send(effort)

    def _send(self, answers: tuple[LearnerAnswer, ...]) -> None:
        for answer in answers:
            if isinstance(answer, SearchProgress):
                self._report_rate(answer.candidates)
            elif isinstance(answer, StateKept) and answer.checkpoint:  # here, since the event loop must not hash it
                self._pipe.send(replace(answer, digest=checkpoint_digest(encode_kept_state(answer))))
            else:
                self._pipe.send(answer)

    def _tell_faults(self) -> None:
        """What is new at once; the number now and then."""
        lines, now = self._faults.take_untold(), time.monotonic()
        if lines or (self._faults.count > self._faults_told and now - self._faults_told_at >= PROGRESS_SECONDS):
            self._pipe.send(TaskFaulted(lines, self._faults.count))
            self._faults_told, self._faults_told_at = self._faults.count, now

    def _report_rate(self, candidates: int) -> None:
        now = time.monotonic()
        if now - self._reported_at < PROGRESS_SECONDS:
            return
        self._pipe.send(SearchRate((candidates - self._tried_before) / (now - self._reported_at)))
        self._tried_before, self._reported_at = candidates, now


SHARE = 5
"""Where deliveries never end a fifth of the time is searched. Other requests are answered first, whatever they cost: a block
that is to be checked, or a person."""


class SearchShare:
    """What our own search is owed. Times in any unit, one and the same."""

    def __init__(self) -> None:
        self._owed = 0.0

    def on_answer(self, request: LearnerRequest, duration: float) -> None:
        """A request has taken so long."""
        if isinstance(request, DeliverRequest):
            self._owed += duration / (SHARE - 1)

    def on_search(self, duration: float) -> None:
        """A slice of search has taken so long."""
        self._owed = max(0.0, self._owed - duration)

    def on_rest(self) -> None:
        """No request waits: nothing is owed any more, or hours of calm would pay for minutes in which nobody is answered."""
        self._owed = 0.0

    def is_due(self, slice_duration: float) -> bool:
        """Whether a slice, which takes about so long, comes before the next request."""
        return self._owed > slice_duration
