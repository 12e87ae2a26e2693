"""One running peer: its processes, its network, its store and its API, as one tree of tasks.

It starts once its learner's task has loaded, and is the network's.
"""

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from consensus.types import PeerId
from learning.learner import ExportRequest, ModelExported
from learning.task import Layout
from node.api.chains import ChainSource
from node.api.effort import EffortTally
from node.api.progress import ProgressLog
from node.api.server import API_HOST, ApiServer
from node.api.status import NodeStatus
from node.api.telemetry import LagProbe, MemoryProbe, Vitals
from node.common.errors import EXIT_GOAL_NOT_MET, NodeError, fix_of_task
from node.common.wording import command_text, counted
from node.net.listening import LISTEN_FIX
from node.net.network_interface import ListenError
from node.net.transport import PeerNetwork
from node.processes.effort import LearnerEffort
from node.processes.learner import (
    LearnerFailed,
    LearnerMessage,
    LearnerReady,
    LearnerWorker,
    SearchRate,
    TaskFaulted,
    run_learner_process,
)
from node.processes.puzzle import PuzzleAnswer, PuzzleWorker, run_puzzle_process
from node.rules.network_rules import TaskSection
from node.runtime.connected import Connected
from node.runtime.parts import PeerParts, StatusSources
from node.storage.export import model_bytes, store_layout
from node.storage.remembered_addresses import remember_addresses

log = logging.getLogger(__name__)

STILL_LOADING_SECONDS = 30.0
"""How often it is told that a task is not loaded yet. How long that may take only its owner knows."""

SAME_TASK = "use the same data and the same version of the task as the other peers"


async def loaded_task(
    learner: LearnerWorker, answer: asyncio.Future[LearnerReady], is_stopping: asyncio.Event, task: TaskSection
) -> Layout | None:
    """Wait for the task to load, however long it takes: its layout; None when the peer is told to stop before.

    Raises NodeError.
    """
    ended = asyncio.create_task(learner.exit_code())
    stopping = asyncio.create_task(is_stopping.wait())
    try:
        waiting = (ended, stopping, answer)
        began = time.monotonic()
        while not any(one.done() for one in waiting):
            await asyncio.wait(waiting, timeout=STILL_LOADING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not any(one.done() for one in waiting):
                passed_s = time.monotonic() - began
                log.info("the task %s is not loaded, or its first model not measured, after %.0f s", task.name, passed_s)
        if answer.done():
            return _check_layout(answer.result(), task)
        if ended.done():
            message = f"the learner's process ended with exit code {ended.result()} while it loaded the task"
            raise NodeError(message, fix_of_task(task.name, None))
        return None
    finally:
        ended.cancel()
        stopping.cancel()


def _check_layout(ready: LearnerReady, task: TaskSection) -> Layout:
    """Refuse to run on other data than the network's."""
    parameters = sum(block.size for block in ready.layout)
    if parameters != task.parameters:
        message = f"task.parameters is {task.parameters} in the network file, but {task.name!r} has {parameters}"
        raise NodeError(message, SAME_TASK)
    if ready.data_digest.hex() != task.data_digest:
        raise NodeError(
            f"task.data_digest is {task.data_digest} in the network file, but {task.name!r} here has {ready.data_digest.hex()}",
            SAME_TASK,
        )
    return ready.layout


START_AGAIN = "start again: nothing that was acknowledged is lost"

WATCH_SECONDS = 0.5
"""How often it is looked whether the chain stands still."""

LOG_SECONDS = 1.0
"""How often it is looked whether the log has something to say."""

EVERY_ADDRESS = ("0.0.0.0", "::")


class Peer:
    """Runs the parts until told to stop."""

    def __init__(self, parts: PeerParts, api_listener: socket.socket | None = None) -> None:
        self._parts = parts
        self._api_listener = api_listener
        self._stopping = asyncio.Event()
        self._learner_ready: asyncio.Future[LearnerReady] = asyncio.get_running_loop().create_future()
        self._exports: deque[asyncio.Future[ModelExported]] = deque()
        self._connected: Connected | None = None
        self._apart: frozenset[PeerId] = frozenset()
        self._vitals = Vitals(parts.identity.peer_id)
        self._effort = EffortTally(time.monotonic())
        self._failure: str | None = None
        self._failure_fix: str | None = None

    def request_stop(self) -> None:
        """Ask for a clean stop; `run` returns once everything is closed."""
        self._stopping.set()

    def keep_apart(self, peers: frozenset[PeerId]) -> None:
        """Have no connection to these peers, instead of an earlier such order; nobody: to everybody again."""
        if peers != self._apart:
            log.info("told to keep apart from %s", counted(len(peers), "peer"))
        self._apart = peers
        if self._connected is not None:
            self._connected.network.keep_apart(peers)

    def fail(self, context: Mapping[str, object]) -> None:
        """A callback of the event loop has raised: our own mistake, which ends the node with its traceback in the log."""
        error = context.get("exception")
        log.error("%s", context.get("message"), exc_info=error if isinstance(error, Exception) else None)
        if "handle" in context:
            self._failure = f"an internal error: {error!r}; the log has the details"
            self._failure_fix = START_AGAIN
            self._stopping.set()

    async def run(self) -> None:
        """Start everything, work until stopped. Raises NodeError with a reason when a part fails."""
        async with AsyncExitStack() as stack:
            learner = LearnerWorker("learner", run_learner_process, self._parts.learner, self._on_learner)
            stack.push_async_callback(learner.stop)
            puzzle = None
            if self._parts.puzzle is not None:
                puzzle = PuzzleWorker("puzzle", run_puzzle_process, self._parts.puzzle, self._on_puzzle)
                stack.push_async_callback(puzzle.stop)
            layout = await loaded_task(learner, self._learner_ready, self._stopping, self._parts.rules.task)
            if layout is not None:
                store_layout(self._parts.store, layout)
                await self._run_parts(layout, learner, puzzle)

    # --- life ---

    async def _run_parts(self, layout: Layout, learner: LearnerWorker, puzzle: PuzzleWorker | None) -> None:
        parts = self._parts
        connected = self._connected = Connected(parts, layout, self._vitals, learner, puzzle)
        driver, network = connected.driver, connected.network
        network.keep_apart(self._apart)
        workers: list[LearnerWorker | PuzzleWorker] = [learner] if puzzle is None else [learner, puzzle]
        pids = tuple(worker.pid for worker in workers)
        lag, memory = LagProbe(), MemoryProbe((os.getpid(), *pids))
        sources = StatusSources(parts, self._vitals, network, driver, lag, memory, self._effort, pids)
        model_file = partial(self._model_file, learner, layout)
        api = ApiServer(parts.identity.peer_id.hex(), sources.document, model_file, self._api_listener)
        for request in parts.first_requests:
            learner.ask(request)
        driver.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(driver.run(), name="driver")
                group.create_task(_run_network(network), name="network")
                group.create_task(api.run(), name="api")
                group.create_task(connected.streams.run(), name="side streams")
                group.create_task(lag.run(), name="lag")
                group.create_task(memory.run(), name="memory")
                group.create_task(_watch(parts.chain), name="watch")
                group.create_task(_log_progress(sources.document), name="progress")
                group.create_task(remember_addresses(parts.store, network.known_addresses), name="addresses")
                for worker in workers:
                    group.create_task(self._end_with(worker), name=worker.name)
                for companion in parts.companions(network):
                    group.create_task(companion(), name="companion")
                group.create_task(self._announce(network, api), name="announce")
                await self._stopping.wait()
                raise _StopRequested
        except* _StopRequested:
            log.info("stopping")
        if self._failure is not None:
            raise NodeError(self._failure, self._failure_fix, EXIT_GOAL_NOT_MET)

    async def _announce(self, network: PeerNetwork, api: ApiServer) -> None:
        """Once everything listens: leave the API's address in the folder, and tell people how to join."""
        await network.ready.wait()
        await api.ready.wait()
        self._parts.folder.write_api_address(API_HOST, api.port)
        host = self._parts.settings.listen_host
        log.info("listening on %s:%d", host, network.port)
        log.info("look at it with: %s", command_text("status", "--data-dir", self._parts.folder.path))
        is_everywhere = host in EVERY_ADDRESS
        log.info("others join with: --peer %s:%d", "THIS-MACHINE" if is_everywhere else host, network.port)

    async def _end_with(self, worker: LearnerWorker | PuzzleWorker) -> None:
        code = await worker.exit_code()
        how = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended unexpectedly with exit code {code}"
        if self._failure is not None:
            raise NodeError(self._failure, self._failure_fix)
        raise NodeError(f"the {worker.name} process {how}", START_AGAIN, EXIT_GOAL_NOT_MET)

    # --- what the processes say ---

    def _on_puzzle(self, answer: PuzzleAnswer) -> None:
        assert self._connected is not None, "the miner says nothing before it is asked"
        self._connected.driver.feed(answer)

    def _on_learner(self, message: LearnerMessage) -> None:
        match message:
            case LearnerReady():
                if not self._learner_ready.done():
                    self._learner_ready.set_result(message)
            case LearnerFailed(reason, fix):
                self._fail(reason, fix)
            case TaskFaulted(lines, count):
                self._remember_faults(lines, count)
            case LearnerEffort():
                self._effort.add(message, time.monotonic())
            case SearchRate(rate):
                self._vitals.candidates_per_second = rate
            case ModelExported():
                waiting = self._exports.popleft()  # the learner answers in the order in which it was asked
                if not waiting.done():
                    waiting.set_result(message)
            case _:
                assert self._connected is not None, "the learner says nothing before it is asked"
                self._vitals.remember(message)
                self._connected.driver.handle_answer(message)

    def _remember_faults(self, lines: tuple[str, ...], count: int) -> None:
        self._vitals.task_faults = count
        for line in lines:
            log.warning("%s; such a candidate is the worst, further ones are counted in `status`", line)
            self._vitals.note(line, time.monotonic())

    def _fail(self, reason: str, fix: str | None) -> None:
        """The learner's last word; its process ends with it."""
        self._failure, self._failure_fix = reason, fix
        if not self._learner_ready.done():
            self._learner_ready.set_exception(NodeError(reason, fix))

    async def _model_file(self, learner: LearnerWorker, layout: Layout, is_final: bool) -> bytes:
        """The adopted model, or the newest final one, as a safetensors file."""
        waiting: asyncio.Future[ModelExported] = asyncio.get_running_loop().create_future()
        self._exports.append(waiting)
        learner.ask(ExportRequest(is_final))
        exported = await waiting
        final_height = exported.height if is_final else self._parts.chain.facts(self._vitals).final_height
        folder = self._parts.store.path.parent
        return await asyncio.to_thread(model_bytes, self._parts.rules, layout, exported, final_height, folder)


async def _watch(chain: ChainSource) -> None:
    while True:
        chain.watch(time.monotonic())
        await asyncio.sleep(WATCH_SECONDS)


async def _log_progress(document: Callable[[], NodeStatus]) -> None:
    """So that whoever looks at a log knows what the peer waits for, and how things went."""
    progress = ProgressLog(time.monotonic())
    while True:
        await asyncio.sleep(LOG_SECONDS)
        line = progress.line(document(), time.monotonic())
        if line is not None:
            log.info("%s", line)


async def _run_network(network: PeerNetwork) -> None:
    try:
        await network.run()
    except ListenError as error:
        raise NodeError(str(error), LISTEN_FIX) from error


class _StopRequested(Exception):  # noqa: N818 - not an error
    """Leaves the task group in good order."""
