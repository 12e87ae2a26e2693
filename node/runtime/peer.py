"""One running peer: its processes, its network, its store and its API, as one tree of tasks."""

import asyncio
import logging
import os
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from consensus.inputs import PeerJoined, PeerLeft
from consensus.types import Instant, PeerId
from learning.learner import ExportRequest, LearnerRequest, ModelExported
from learning.task import Layout
from node.api.chains import ChainSource
from node.api.progress import ProgressLog
from node.api.server import API_HOST, ApiServer
from node.api.status import NodeStatus
from node.api.status_sources import StatusSources
from node.api.telemetry import LagProbe, MemoryProbe, Vitals
from node.common.errors import EXIT_GOAL_NOT_MET, NodeError, fix_of_task
from node.common.invocation import command_text
from node.common.wording import counted
from node.net.contract import ListenError, NetSettings
from node.net.large_sizes import payload_bytes_max, state_bytes_max
from node.net.listening import LISTEN_FIX
from node.net.part_server import PartServer, answer_as
from node.net.side_streams import SideStreams, in_a_thread
from node.net.transport import PeerNetwork
from node.net.wire import Part
from node.processes.learner import (
    LearnerFailed,
    LearnerMessage,
    LearnerReady,
    LearnerSpec,
    SearchRate,
    run_learner_process,
)
from node.processes.puzzle import PuzzleAnswer, PuzzleSpec, run_puzzle_process
from node.processes.ways import LearnerProcess, LearnerWorker, NoPuzzles, PuzzleProcess, PuzzleWorker
from node.rules.network_file import NetworkRules, network_id, rule_fields
from node.rules.settings import PeerSettings
from node.runtime.driver import Driver, Ports
from node.runtime.replica import LATE_SECONDS, ReplicaPort
from node.storage.export import model_bytes, store_layout
from node.storage.folder import NodeFolder
from node.storage.guard_file import GuardFile
from node.storage.identity import Identity
from node.storage.remembered_addresses import remember_addresses, remembered_addresses
from node.storage.store import Store

log = logging.getLogger(__name__)

LEARNER_START_SECONDS_MAX = 120.0
"""Importing torch on a loaded machine takes seconds; a task's own data may take more. Longer means that it hangs."""


SAME_TASK = "use the same data and the same version of the task as the other peers"
START_AGAIN = "start again: nothing that was acknowledged is lost"

WATCH_SECONDS = 0.5
"""How often it is looked whether the chain stands still."""

LOG_SECONDS = 1.0
"""How often it is looked whether the log has something to say."""

OUTBOUND_MIN = 8
"""Bitcoin's number; members of a total order are each connected to all others instead."""

OUTBOUND_BESIDE_MEMBERS = 4
"""Observers that a peer of a total order dials besides all members, so that those who only follow find each other."""

EVERY_ADDRESS = ("0.0.0.0", "::")


def outbound_target(members: int) -> int:
    """How many connections a peer dials, in a network of so many members; 0: open to all."""
    return max(OUTBOUND_MIN, members + OUTBOUND_BESIDE_MEMBERS) if members else OUTBOUND_MIN


Companion = Callable[[], Coroutine[None, None, None]]
"""Goes on until it is cancelled."""


def nobody(network: PeerNetwork) -> Iterable[Companion]:  # noqa: ARG001 - what others need
    """No companions."""
    return ()


@dataclass(frozen=True, slots=True)
class PeerParts:
    """What assembly.py has opened and built for one peer."""

    settings: PeerSettings
    folder: NodeFolder
    identity: Identity
    rules: NetworkRules
    store: Store
    replica: ReplicaPort
    chain: ChainSource
    learner: LearnerSpec
    puzzle: PuzzleSpec | None
    """None where no puzzle is worked on."""
    first_requests: tuple[LearnerRequest, ...]
    """What the learner is asked before all else."""
    companions: Callable[[PeerNetwork], Iterable[Companion]] = nobody
    """What runs beside the network, until the peer stops; an honest peer has nothing of the kind."""
    misconduct: str = ""
    """What the peer was told to do wrong, for trying attacks; shown to people."""

    @property
    def members(self) -> tuple[PeerId, ...]:
        """Of a total order; none where membership is open."""
        return tuple(PeerId(member) for member in self.learner.members)


class SystemClock:
    """The clocks of this machine. The zero is where the wall clock had it at the start, so that records stay readable."""

    def __init__(self) -> None:
        self._zero_ns = time.time_ns() - time.monotonic_ns()

    def now(self) -> Instant:
        """Milliseconds; whatever befalls the wall clock later, it goes on evenly."""
        return Instant((time.monotonic_ns() + self._zero_ns) // 1_000_000)

    def wall_offset_ms(self) -> int:
        """The wall clock reads `now + wall_offset_ms`."""
        return (time.time_ns() - time.monotonic_ns() - self._zero_ns) // 1_000_000


class Peer:
    """Runs the parts until told to stop."""

    def __init__(self, parts: PeerParts, api_listener: socket.socket | None = None) -> None:
        self._parts = parts
        self._api_listener = api_listener
        self._stopping = asyncio.Event()
        self._learner_ready: asyncio.Future[LearnerReady] = asyncio.get_running_loop().create_future()
        self._exports: deque[asyncio.Future[ModelExported]] = deque()
        self._driver: Driver | None = None
        self._streams: SideStreams | None = None
        members = frozenset(PeerId(member) for member in parts.learner.members)
        self._server = PartServer(parts.store, members, time.monotonic)
        self._network: PeerNetwork | None = None
        self._apart: frozenset[PeerId] = frozenset()
        self._vitals = Vitals(parts.identity.peer_id)
        self._layout: Layout = ()
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
        if self._network is not None:
            self._network.keep_apart(peers)

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
            if await self._learner_is_ready(learner):
                await self._run_parts(learner, puzzle)

    # --- life ---

    async def _learner_is_ready(self, learner: LearnerWorker) -> bool:
        """Wait for the task to load; False when we are told to stop before."""
        name = self._parts.rules.task.name
        ended = asyncio.create_task(learner.ended())
        stopping = asyncio.create_task(self._stopping.wait())
        ready = asyncio.create_task(self._ready())
        try:
            await asyncio.wait((ended, stopping, ready), timeout=LEARNER_START_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                self._compare_task(ready.result())
            elif ended.done():
                message = f"the learner's process ended with exit code {ended.result()} while it loaded the task"
                raise NodeError(message, fix_of_task(name, None))
            elif not stopping.done():
                message = f"the task {name!r} did not load within {LEARNER_START_SECONDS_MAX:.0f} s"
                raise NodeError(message, fix_of_task(name, None))
            return ready.done()
        finally:
            for task in (ended, stopping, ready):
                task.cancel()

    async def _ready(self) -> LearnerReady:
        return await self._learner_ready

    def _compare_task(self, ready: LearnerReady) -> None:
        """Refuse to run on other data than the network's."""
        task = self._parts.rules.task
        parameters = sum(block.size for block in ready.layout)
        if parameters != task.parameters:
            message = f"task.parameters is {task.parameters} in the network file, but {task.name!r} has {parameters}"
            raise NodeError(message, SAME_TASK)
        if ready.data_digest.hex() != task.data_digest:
            raise NodeError(
                f"task.data_digest is {task.data_digest} in the network file, but {task.name!r} here has "
                f"{ready.data_digest.hex()}",
                SAME_TASK,
            )
        self._layout = ready.layout
        store_layout(self._parts.store, ready.layout)

    async def _run_parts(self, learner: LearnerWorker, puzzle: PuzzleWorker | None) -> None:
        parts, asking = self._parts, LearnerProcess(learner)
        network = self._network = self._make_network()
        network.keep_apart(self._apart)
        state_bytes = state_bytes_max(parts.rules, len(parts.learner.members), self._layout)
        streams = SideStreams(
            parts.store,
            network,
            state_bytes_max=state_bytes,
            payload_bytes_max=payload_bytes_max(parts.rules, self._layout),
            clock=time.monotonic,
            off_loop=in_a_thread,
        )
        ports = Ports(
            clock=SystemClock(),
            records=parts.store,
            guards=GuardFile(parts.folder.path),
            side_streams=streams,
            outbox=network,
            learner=asking,
            puzzle=NoPuzzles() if puzzle is None else PuzzleProcess(puzzle),
        )
        workers: list[LearnerWorker | PuzzleWorker] = [learner] if puzzle is None else [learner, puzzle]
        driver = Driver(parts.replica, ports)
        self._driver, self._streams, streams.driver = driver, streams, driver
        lag, memory = LagProbe(), MemoryProbe((os.getpid(), *(worker.pid for worker in workers)))
        sources = StatusSources(
            parts.settings,
            parts.rules,
            parts.identity.peer_id,
            parts.chain,
            self._vitals,
            network,
            driver,
            lag,
            memory,
            parts.misconduct,
        )
        peer_id = parts.identity.peer_id.hex()
        api = ApiServer(peer_id, sources.document, partial(self._model_file, learner, parts.chain), self._api_listener)
        for request in parts.first_requests:
            asking.ask(request)
        driver.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(driver.run(), name="driver")
                group.create_task(_run_network(network), name="network")
                group.create_task(api.run(), name="api")
                group.create_task(streams.run(), name="side streams")
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

    def _make_network(self) -> PeerNetwork:
        parts = self._parts
        settings = NetSettings(
            listen_host=parts.settings.listen_host,
            listen_port=parts.settings.listen_port,
            dial=parts.settings.peers,
            remembered=remembered_addresses(parts.store),
            outbound_target=outbound_target(len(parts.learner.members)),
            members=frozenset(PeerId(member) for member in parts.learner.members),
        )
        return PeerNetwork(
            identity=parts.identity.peer_id,
            sign=parts.identity.sign,
            network_id=network_id(parts.rules),
            rules=rule_fields(parts.rules),
            settings=settings,
            events=self,
            random=random.Random(),
            clock=time.monotonic,
            stopwatch=time.perf_counter,
        )

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
        code = await worker.ended()
        how = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended unexpectedly with exit code {code}"
        if self._failure is not None:
            raise NodeError(self._failure, self._failure_fix)
        raise NodeError(f"the {worker.name} process {how}", START_AGAIN, EXIT_GOAL_NOT_MET)

    # --- what the processes say ---

    def _on_puzzle(self, answer: PuzzleAnswer) -> None:
        assert self._driver is not None, "the miner says nothing before it is asked"
        self._driver.feed(answer)

    def _on_learner(self, message: LearnerMessage) -> None:
        match message:
            case LearnerReady():
                if not self._learner_ready.done():
                    self._learner_ready.set_result(message)
            case LearnerFailed(reason, fix):
                self._fail(reason, fix)
            case SearchRate(rate):
                self._vitals.candidates_per_second = rate
            case ModelExported():
                waiting = self._exports.popleft()  # the learner answers in the order in which it was asked
                if not waiting.done():
                    waiting.set_result(message)
            case _:
                assert self._driver is not None, "the learner says nothing before it is asked"
                self._vitals.remember(message)
                self._driver.answer(message)

    def _fail(self, reason: str, fix: str | None) -> None:
        """The learner's last word; its process ends with it."""
        self._failure, self._failure_fix = reason, fix
        if not self._learner_ready.done():
            self._learner_ready.set_exception(NodeError(reason, fix))

    async def _model_file(self, learner: LearnerWorker, chain: ChainSource, is_final: bool) -> bytes:
        """The adopted model, or the newest final one, as a safetensors file."""
        waiting: asyncio.Future[ModelExported] = asyncio.get_running_loop().create_future()
        self._exports.append(waiting)
        learner.ask(ExportRequest(is_final))
        exported = await waiting
        final_height = exported.height if is_final else chain.facts(self._vitals).final_height
        return await asyncio.to_thread(model_bytes, self._parts.rules, self._layout, exported, final_height)

    # --- what the network says (NetworkEvents) ---

    def peer_joined(self, peer: PeerId, group: bytes) -> None:
        """A connection to `peer` exists."""
        assert self._driver is not None
        self._driver.feed(PeerJoined(peer, group))

    def peer_left(self, peer: PeerId) -> None:
        """It is gone."""
        assert self._driver is not None
        self._driver.feed(PeerLeft(peer))

    def received(self, peer: PeerId, message: bytes) -> bool:
        """A message of the ordering protocol; whether it was looked at."""
        assert self._driver is not None
        return self._driver.received(peer, message)

    def large_bytes(self, peer: PeerId, digest: bytes, offset: int, length_max: int) -> tuple[int, bytes] | None:
        """A part of something large that we hold."""
        assert self._network is not None, "somebody has asked over it"
        give, later = self._network.give_part, asyncio.get_running_loop().call_later
        return answer_as(
            self._parts.replica.serving(peer),
            lambda: self._server.part(peer, digest, offset, length_max),
            lambda total, content: later(LATE_SECONDS, give, peer, Part(digest, offset, total, content)),
        )

    def part_received(self, peer: PeerId, part: Part) -> None:
        """A part of something large that we may have asked for."""
        assert self._streams is not None
        self._streams.part_received(peer, part)

    def note(self, text: str) -> None:
        """What a person should know."""
        self._vitals.note(text, time.monotonic())
        log.warning("%s", text)


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
