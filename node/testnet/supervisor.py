"""Many real peers on this machine: each a process with its own key, folder, port and database; watched, judged, stopped.

The supervisor knows no more than a user does: it starts peers, asks their status over HTTP, and stops them.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import msgspec

from node.agreement import agreed_step, final_disagreement
from node.api_address import API_FILE_NAME, read_api_address
from node.cli.figures import metric
from node.cli.live_view import TestnetScreen, TestnetView
from node.cli.status_view import waiting_text
from node.errors import EXIT_DISAGREEMENT, EXIT_GOAL_NOT_MET, EXIT_OK, NodeError, disk_error
from node.folder import NodeFolder
from node.logs import configure_logging
from node.network_file import (
    NETWORK_FILE_NAME,
    Consensus,
    Learning,
    NetworkRules,
    network_id,
    new_rules,
    read_network_file,
    write_network_file,
)
from node.settings import Address, PeerSettings, TestnetSettings
from node.status import NodeStatus, StepStatus
from node.task_facts import task_section
from node.testnet.peer import (
    ACCURACY,
    LOG_NAME,
    TestnetPeer,
    bytes_per_block_and_link,
    last_error,
    peer_document,
    peer_view,
)
from node.workers.process import forkserver, start_process

HOST = "127.0.0.1"

POLL_SECONDS = 0.5
"""A status costs a peer about a millisecond."""

STATUS_SECONDS_MAX = 2.0
"""A peer on a loaded machine answers within milliseconds; longer, and it is shown as it was."""

STOP_SECONDS_MAX = 15.0
"""A peer closes its processes, sockets and database within a second or two; one that has not after this is killed."""

PLAIN_LINE_SECONDS = 2.0
"""Without a terminal every line stays, so there are fewer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a testnet ended."""

    exit_code: int
    reason: str
    seconds: float
    agreed: StepStatus | None


def run_testnet(settings: TestnetSettings) -> int:
    """Start the peers, show them, stop them; the exit code (0 goal reached in agreement, 1 not in time, 3 disagreement)."""
    with _root_folder(settings) as root:
        rules, peers = _make_peers(settings, root)
        return asyncio.run(_Supervisor(settings, rules, peers, root).run())


@contextlib.contextmanager
def _root_folder(settings: TestnetSettings) -> Iterator[Path]:
    """Where the peers' folders are made; removed afterwards unless it is to be kept."""
    if settings.data_dir is None:
        root = Path(tempfile.mkdtemp(prefix="kubrat-testnet-"))
    else:
        root = settings.data_dir
        try:
            root.mkdir(parents=True, exist_ok=True)
            is_empty = not any(root.iterdir())
        except OSError as error:
            raise disk_error("make the folder", root, error) from error
        if not is_empty:
            raise NodeError(f"--data-dir {root} is not empty", "choose a new folder, or remove the old testnet")
    try:
        yield root.resolve()
    finally:
        if not settings.is_kept:
            _remove(root)


def _remove(root: Path) -> None:
    """What cannot be removed, like a mounted folder, is named and left: how the testnet ended counts more."""
    try:
        shutil.rmtree(root)
    except OSError as error:
        sys.stderr.write(f"cannot remove {root}: {error.strerror}\n")


def _rules(settings: TestnetSettings, members: tuple[str, ...]) -> NetworkRules:
    if settings.network_file is not None:
        return read_network_file(settings.network_file)
    members = members if settings.consensus == Consensus.TOTAL_ORDER else ()
    section = task_section(settings.task, needs_gradient=settings.gradient is not None)
    make = partial(new_rules, "testnet", secrets.token_bytes(32), section, settings.strategy, members=members)
    return make(gradient=settings.gradient)


def _make_peers(settings: TestnetSettings, root: Path) -> tuple[NetworkRules, list[TestnetPeer]]:
    """A folder for each; the first is the one that the others dial."""
    names = [f"peer-{number}" for number in range(settings.nodes)]
    keys = tuple(NodeFolder.create_key(root / name).peer_id.hex() for name in names)
    rules = _rules(settings, keys)
    write_network_file(root / NETWORK_FILE_NAME, rules)
    ports = _free_ports(settings.nodes)
    faulty = keys[settings.nodes - settings.faulty :]
    peers: list[TestnetPeer] = []
    for name, key, port in zip(names, keys, ports, strict=True):
        NodeFolder.create(root / name, rules)
        peer_settings = PeerSettings(
            data_dir=root / name,
            network_file=None,
            listen_host=HOST,
            listen_port=port,
            peers=() if port == ports[0] else (Address(HOST, ports[0]),),
            is_observer=False,
            is_searching=True,
            puzzle_share=settings.puzzle_share,
            log_level="info",
            fault=settings.fault if key in faulty else "",
            colluders=faulty if key in faulty else (),
        )
        peers.append(TestnetPeer(name, peer_settings, key))
    return rules, peers


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses now; all are held until the last is found, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind((HOST, 0))
        return [held.getsockname()[1] for held in sockets]


# --- a peer's process -----------------------------------------------------------------------------------------------


def _peer_process(lifeline: Connection, settings: PeerSettings) -> None:
    """The whole life of a testnet's peer, in its own process; ends when the supervisor does, however that ends."""
    from node.assembly import run_peer  # noqa: PLC0415 - the supervisor itself needs none of it

    os.setsid()  # a terminal's Ctrl-C is the supervisor's alone: it tells us in good order
    log = os.open(settings.data_dir / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    configure_logging(settings.log_level)
    try:
        sys.exit(run_peer(settings, lifeline))
    except NodeError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201 - the log is this process's only screen
        sys.exit(error.exit_code)


# --- the supervisor -------------------------------------------------------------------------------------------------


class _Supervisor:
    def __init__(self, settings: TestnetSettings, rules: NetworkRules, peers: list[TestnetPeer], root: Path) -> None:
        self._settings = settings
        self._rules = rules
        self._peers = peers
        self._root = root
        self._stream = sys.stderr if settings.is_json else sys.stdout
        self._screen = TestnetScreen(self._stream)
        self._shown_at = 0.0
        self._started = 0.0
        self._interrupted = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt)
        self._say(f"testnet of {len(self._peers)} peers in {self._root}")
        self._tell_faulty()
        self._say("starting (the first process imports torch; the others are forked from it)")
        try:
            await self._start_all()
            with self._screen:
                outcome = await self._watch()
            document = self._document(outcome)
            running = sum(peer.is_running for peer in self._peers)
        finally:
            await self._stop_all()
        self._report(outcome, document, running)
        return outcome.exit_code

    def _tell_faulty(self) -> None:
        """More of them than the network tolerates are allowed, but said loudly: what happens then proves nothing."""
        count = self._settings.faulty
        if not count:
            return
        tolerated = (len(self._peers) - 1) // 3
        self._say(f"{count} of them misbehave: {self._settings.fault}")
        if count > tolerated:
            self._say(f"WARNING: {len(self._peers)} peers withstand {tolerated} faulty ones, not {count}: anything may happen")

    def _interrupt(self) -> None:
        """The first Ctrl-C stops in good order; the second kills the peers, so that there is nothing to wait for."""
        if self._interrupted.is_set():
            for peer in self._peers:
                if peer.is_running and peer.process is not None:
                    peer.process.kill()
        self._interrupted.set()

    async def _start_all(self) -> None:
        context = forkserver()
        self._started = time.monotonic()
        for peer in self._peers:
            if self._interrupted.is_set():
                break
            peer.lifeline, theirs = context.Pipe()
            process = context.Process(target=_peer_process, args=(theirs, peer.settings), name=peer.name)
            await asyncio.to_thread(start_process, process)
            peer.process = process
            theirs.close()
        self._started = time.monotonic()

    async def _stop_all(self) -> None:
        self._say("stopping")
        for peer in self._peers:
            if peer.is_running and peer.process is not None:
                peer.process.terminate()
        for peer in self._peers:
            if peer.process is None:
                continue
            await asyncio.to_thread(peer.process.join, STOP_SECONDS_MAX)
            if peer.is_running:
                self._say(f"{peer.name} did not stop within {STOP_SECONDS_MAX:.0f} s: killed")
                peer.process.kill()
                await asyncio.to_thread(peer.process.join)

    async def _watch(self) -> Outcome:
        """Poll and show until the goal, the deadline, a disagreement or Ctrl-C."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STATUS_SECONDS_MAX)) as session:
            while True:
                await asyncio.gather(*(self._ask(session, peer) for peer in self._peers))
                outcome = self._outcome()
                self._show(is_last=outcome is not None)
                if outcome is not None:
                    return outcome
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._interrupted.wait(), POLL_SECONDS)

    async def _ask(self, session: aiohttp.ClientSession, peer: TestnetPeer) -> None:
        """Refresh one peer's status; a peer that does not answer keeps its last one."""
        if not (peer.settings.data_dir / API_FILE_NAME).exists():
            return
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, NodeError):
            address = read_api_address(peer.settings.data_dir)
            async with session.get(f"http://{address}/v1/status") as answer:
                peer.status = msgspec.json.decode(await answer.read(), type=NodeStatus)

    # --- judging ---

    def _outcome(self) -> Outcome | None:
        seconds = time.monotonic() - self._started
        disagreement = self._disagreement()
        if disagreement is not None:
            return Outcome(EXIT_DISAGREEMENT, disagreement, seconds, None)
        agreed = self._agreed()
        if agreed is not None and self._is_goal(agreed):
            return Outcome(EXIT_OK, "goal reached in agreement", seconds, agreed)
        if self._interrupted.is_set():
            return Outcome(EXIT_GOAL_NOT_MET, "interrupted", seconds, agreed)
        if seconds >= self._settings.deadline_s:
            hint = self._hint_about_goal(agreed)
            return Outcome(EXIT_GOAL_NOT_MET, f"deadline of {self._settings.deadline_s:g} s passed{hint}", seconds, agreed)
        return self._outcome_without_peers(seconds, agreed)

    def _is_goal(self, agreed: StepStatus) -> bool:
        if self._settings.until_fitness is not None:
            return agreed.fitness is not None and agreed.fitness >= self._settings.until_fitness
        return agreed.metrics.get(ACCURACY, -1.0) >= self._settings.until_accuracy

    def _hint_about_goal(self, agreed: StepStatus | None) -> str:
        if agreed is None or ACCURACY in agreed.metrics or self._settings.until_fitness is not None:
            return ""
        return " (this task tells no test accuracy: set --until-fitness)"

    def _disagreement(self) -> str | None:
        honest = [peer for peer in self._peers if peer.is_honest]
        found = final_disagreement([peer.status for peer in honest if peer.status is not None])
        if found is None:
            return None
        one, other = self._name_of(found.one), self._name_of(found.other)
        return f"{one} and {other} hold different final steps at height {found.height}"

    def _agreed(self) -> StepStatus | None:
        """The highest step that every living honest peer holds; who was killed has no say, but most must live."""
        honest = [peer for peer in self._peers if peer.is_honest]
        living = [peer for peer in honest if peer.is_running]
        statuses = [peer.status for peer in living if peer.status is not None]
        is_majority = 2 * len(living) > len(honest)
        return agreed_step(statuses) if is_majority and len(statuses) == len(living) else None

    def _outcome_without_peers(self, seconds: float, agreed: StepStatus | None) -> Outcome | None:
        """Nobody left: no use in waiting for the deadline."""
        if any(peer.is_running for peer in self._peers):
            return None
        return Outcome(EXIT_GOAL_NOT_MET, f"all peers have stopped: {last_error(self._peers[0])}", seconds, agreed)

    def _name_of(self, peer_id: str) -> str:
        return next((peer.name for peer in self._peers if peer.peer_id == peer_id), peer_id[:8])

    # --- showing ---

    def _say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def _show(self, is_last: bool) -> None:
        now = time.monotonic()
        if is_last or self._stream.isatty() or now - self._shown_at >= PLAIN_LINE_SECONDS:
            self._screen.show(self._view())
            self._shown_at = now

    def _view(self) -> TestnetView:
        agreed = self._agreed()
        disagreement = self._disagreement()
        return TestnetView(
            network_id=network_id(self._rules).hex(),
            elapsed_s=time.monotonic() - self._started,
            deadline_s=self._settings.deadline_s,
            target_accuracy=self._settings.until_accuracy,
            target_fitness=self._settings.until_fitness,
            disagreement=disagreement,
            order=self._order_line(),
            is_gradient=self._rules.learning is Learning.GRADIENT,
            peers=tuple(peer_view(peer) for peer in self._peers),
            agreed_height=None if agreed is None else agreed.height,
            agreed_digest=None if agreed is None else agreed.state_digest,
        )

    def _order_line(self) -> str | None:
        """Where the total order stands, by the living member that has come furthest."""
        orders = [peer.status.order for peer in self._peers if peer.is_running and peer.status and peer.status.order]
        if not orders:
            return None
        order = max(orders, key=lambda order: order.round)
        names = {peer.peer_id: peer.name for peer in self._peers}
        waiting = f", waiting for {waiting_text(order, names)}" if order.waiting_for else ""
        return f"round {order.round:,}, {order.commits:,} commits, {order.slots_skipped:,} slots skipped{waiting}"

    def _report(self, outcome: Outcome, document: dict[str, object], running: int) -> None:
        self._say(f"{outcome.reason} after {outcome.seconds:.1f} s")
        if outcome.agreed is not None:
            who = "all hold" if running == len(self._peers) else f"the {running} of {len(self._peers)} that run hold"
            figures = ", ".join(metric(name, value) for name, value in sorted(outcome.agreed.metrics.items()))
            self._say(f"{who} {outcome.agreed.state_digest[:16]} at height {outcome.agreed.height}: {figures}")
        if self._settings.is_kept:
            self._say(f"kept: {self._root}")
        if self._settings.is_json:
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()

    def _document(self, outcome: Outcome) -> dict[str, object]:
        statuses = [peer.status for peer in self._peers if peer.status is not None and peer.is_running]
        agreed = outcome.agreed
        return {
            "agreed": agreed is not None and outcome.exit_code != EXIT_DISAGREEMENT,
            "reason": outcome.reason,
            "network_id": network_id(self._rules).hex(),
            "height": None if agreed is None else agreed.height,
            "final_height": min((status.final_height or 0 for status in statuses), default=0),
            "state_digest": None if agreed is None else agreed.state_digest,
            "test_accuracy": None if agreed is None else agreed.metrics.get(ACCURACY),
            "fitness": None if agreed is None else agreed.fitness,
            "seconds": round(outcome.seconds, 3),
            "bytes_sent_per_block": bytes_per_block_and_link(statuses),
            "peers": [peer_document(peer, agreed) for peer in self._peers],
        }
