"""Many real peers on this machine: each a process with its own key, folder, port and database; watched, judged, stopped.

The supervisor knows no more than a user does: it starts peers, asks their status over HTTP, and stops them. It may tell each
whom to have no connection to.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from node.api.status import NodeStatus
from node.common.errors import NodeError
from node.common.wording import command_text, counted, metric
from node.lab.scenarios.events import PeerNumbers
from node.lab.studies.plots import check_plots
from node.lab.testnet.commands import Divider
from node.lab.testnet.control import CommandReport, TestnetReport
from node.lab.testnet.control_server import ControlServer
from node.lab.testnet.executor import TestnetExecutor
from node.lab.testnet.folder import testnet_folder
from node.lab.testnet.history import GoalHistory, Point, check_plot_file
from node.lab.testnet.live_view import TestnetScreen, who_agrees
from node.lab.testnet.objective import Goal, GoalCheck, Objective, ObjectiveContext, TestnetOutcome, figures_of
from node.lab.testnet.peer import PeerState, TestnetPeer
from node.lab.testnet.process import STOP_SECONDS_MAX
from node.lab.testnet.settings import TestnetSettings
from node.lab.testnet.setup import make_peers, warning_of
from node.lab.testnet.views import outcome_document, peer_report, plot_title, testnet_view
from node.rules.network_rules import NetworkRules
from node.runtime.supervisor_pipe import KeepApart, tell
from node.storage.api_address import read_api_file


class RefusalDivider:
    """A `Divider` for any system. A peer that does not run, or is paused, has to be told again when it runs."""

    def __init__(self, peers: Sequence[TestnetPeer]) -> None:
        self._peers = peers

    async def divide(self, groups: tuple[PeerNumbers, ...]) -> None:
        """Tell each peer to keep apart from all that are not in its group."""
        for group in groups:
            others = KeepApart(
                tuple(bytes.fromhex(peer.peer_id) for number, peer in enumerate(self._peers) if number not in group)
            )
            for peer in (self._peers[number] for number in group):
                if peer.lifeline is not None and peer.is_running and not peer.is_paused:
                    tell(peer.lifeline, others)


POLL_SECONDS = 0.5
"""A status costs a peer about a millisecond."""

STATUS_SECONDS_MAX = 2.0
"""A peer on a loaded machine answers within milliseconds; longer, and it is shown as it was."""

PLAIN_LINE_SECONDS_MIN, PLAIN_LINE_SECONDS_MAX = 2.0, 60.0
"""Without a terminal every line stays, so there are fewer."""

PLAIN_LINE_SHARE = 1 / 60
"""Of the time that has passed; a day takes some 1,600 lines."""


def plain_line_seconds(elapsed_s: float) -> float:
    """How long after a line the next one comes, where every line stays: the longer it has run, the less there is to see."""
    return min(PLAIN_LINE_SECONDS_MAX, max(PLAIN_LINE_SECONDS_MIN, elapsed_s * PLAIN_LINE_SHARE))


ASKED = (PeerState.STARTING, PeerState.RUNNING, PeerState.SILENT)
"""Whoever may answer."""

COMMANDS_TOLD_MAX = 1_000
"""The last ones, in the outcome: more than a person does by hand."""


def run_testnet(settings: TestnetSettings) -> int:
    """Start the peers, show them, stop them; the exit code (0 goal reached in agreement, 1 not in time, 3 disagreement)."""
    if settings.plot is not None:
        check_plots()
        check_plot_file(settings.plot)
    with testnet_folder(settings) as root:
        rules, peers = make_peers(settings, root)
        network = Network(rules, peers, root)
        return asyncio.run(Supervisor(settings, network, RefusalDivider(peers), Goal).run())


@dataclass(frozen=True, slots=True)
class Network:
    """A testnet before any peer runs."""

    rules: NetworkRules
    peers: list[TestnetPeer]
    root: Path


class Supervisor:
    """Runs one testnet, once."""

    def __init__(
        self, settings: TestnetSettings, network: Network, divider: Divider, pursue: Callable[[ObjectiveContext], Objective]
    ) -> None:
        self._settings = settings
        self._rules = network.rules
        self._peers = peers = network.peers
        self._root = network.root
        self._goal_check = GoalCheck(settings, peers)
        self._executor = TestnetExecutor(peers, network.rules, divider, self._tell)
        self._objective = pursue(ObjectiveContext(self._peers, self._executor, self._goal_check, self._say))
        self._history = GoalHistory(settings.goal)
        self._commands: deque[CommandReport] = deque(maxlen=COMMANDS_TOLD_MAX)
        self._stream = sys.stderr if settings.is_json else sys.stdout
        self._screen = TestnetScreen(self._stream)
        self._shown_at = 0.0
        self._started = 0.0
        self._interrupted = asyncio.Event()

    async def run(self) -> int:
        """To its end; the exit code. Raises NodeError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt)
        self._greet()
        async with ControlServer(self._objective.executor, self._testnet_report, self._seconds).serving(self._root):
            try:
                await self._executor.start_all(self._objective.absent)
                self._started = time.monotonic()
                with self._screen:
                    outcome = await self._watch()
                document = outcome_document(self._rules, self._peers, self._commands, outcome)
                heard = sum(peer.has_say for peer in self._peers)
            finally:
                await self._stop_all()
        outcome = await self._objective.conclude(outcome)
        self._report(
            outcome, {**document, "reason": outcome.reason, "detail": outcome.detail, **self._objective.document()}, heard
        )
        return outcome.exit_code

    def _greet(self) -> None:
        """More faulty peers than the network tolerates are allowed, but said loudly: what happens then proves nothing."""
        self._screen.say(f"testnet of {counted(len(self._peers), 'peer')} in {self._root}")
        if self._settings.faulty:
            self._screen.say(f"{counted(self._settings.faulty, 'peer')} of them told to misbehave: {self._settings.fault}")
        warning = warning_of(len(self._peers), self._settings.faulty)
        if warning is not None:
            self._screen.say(warning)
        for line in self._objective.greeting():
            self._screen.say(line)
        if self._settings.is_until_interrupted:
            self._screen.say(f"disturb it from another terminal: {command_text('inject', '--help')}")
        self._screen.say("starting (the first process imports torch; the others are forked from it)")

    def _interrupt(self) -> None:
        """The first Ctrl-C stops in good order; the second kills the peers, so that there is nothing to wait for."""
        self._executor.close()
        if self._interrupted.is_set():
            self._executor.kill_all()
        self._interrupted.set()

    async def _stop_all(self) -> None:
        self._screen.say("stopping")
        for peer in await self._executor.stop_all():
            self._screen.say(f"{peer.name} did not stop within {STOP_SECONDS_MAX:.0f} s: killed")

    async def _watch(self) -> TestnetOutcome:
        """Poll and show until the goal, the deadline, a disagreement or Ctrl-C."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=STATUS_SECONDS_MAX)) as session:
            while True:
                await self._ask_all(session)
                await self._advance()
                self._note_agreed()
                outcome = self._objective.outcome(self._seconds(), is_interrupted=self._interrupted.is_set())
                self._show(is_last=outcome is not None)
                if outcome is not None:
                    return outcome
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._interrupted.wait(), POLL_SECONDS)

    def _note_agreed(self) -> None:
        agreed = self._goal_check.agreed()
        if agreed is not None:
            self._history.note(Point(self._seconds(), agreed.height, figures_of(agreed)))

    async def _ask_all(self, session: aiohttp.ClientSession) -> None:
        """Only time in which they were asked counts as silence: our own machine may have slept, or been busy with an event."""
        begun = time.monotonic()
        heard = await asyncio.gather(*(_ask(session, peer) for peer in self._peers))
        waited_s = time.monotonic() - begun + POLL_SECONDS
        for peer, is_heard in zip(self._peers, heard, strict=True):
            peer.silent_s = 0.0 if is_heard or peer.state not in ASKED else peer.silent_s + waited_s

    async def _advance(self) -> None:
        """What cannot be done because all is stopping need not be done."""
        if self._interrupted.is_set():
            return
        try:
            await self._objective.advance(self._seconds())
        except NodeError:
            if not self._interrupted.is_set():
                raise

    # --- telling ---

    def _seconds(self) -> float:
        """Since all peers were started; 0 before."""
        return time.monotonic() - self._started if self._started else 0.0

    def _tell(self, said: str) -> None:
        """An event has befallen peers."""
        self._commands.append(CommandReport(round(self._seconds(), 3), said))
        self._say(said)

    def _say(self, said: str) -> None:
        self._screen.say(f"{self._seconds():5.0f} s  {said}")

    def _show(self, *, is_last: bool) -> None:
        now = time.monotonic()
        if is_last or self._stream.isatty() or now - self._shown_at >= plain_line_seconds(self._seconds()):
            self._screen.show(
                testnet_view(self._settings, self._rules, self._peers, self._goal_check, self._seconds(), self._history)
            )
            self._shown_at = now

    def _testnet_report(self) -> TestnetReport:
        """For whoever asks while it runs."""
        agreed = self._goal_check.agreed()
        return TestnetReport(
            folder=str(self._root),
            pid=os.getpid(),
            seconds=round(self._seconds(), 3),
            consensus=self._rules.consensus,
            learning=self._rules.learning,
            agreed_height=None if agreed is None else agreed.height,
            peers=tuple(peer_report(number, peer) for number, peer in enumerate(self._peers)),
            commands=tuple(self._commands),
        )

    def _report(self, outcome: TestnetOutcome, document: dict[str, object], heard: int) -> None:
        self._screen.say(outcome.sentence)
        if outcome.agreed is not None:
            figures = ", ".join(metric(name, value) for name, value in sorted(outcome.agreed.metrics.items()))
            who = who_agrees(heard, len(self._peers))
            self._screen.say(f"{who} hold {outcome.agreed.state_digest[:16]} at height {outcome.agreed.height}: {figures}")
            self._screen.say(f"final: {document['finality']}")
        for line in self._objective.remarks():
            self._screen.say(line)
        self._plot()
        if self._settings.is_kept:
            self._screen.say(f"kept: {self._root}")
        if self._settings.is_json:
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()

    def _plot(self) -> None:
        file = self._settings.plot
        if file is None:
            return
        if not self._history.can_be_drawn:
            self._screen.say(f"no plot: {self._settings.goal.metric} of an agreed model was never known")
            return
        self._history.plot(file, plot_title(self._settings, self._rules))
        self._screen.say(f"drawn: {file}")


async def _ask(session: aiohttp.ClientSession, peer: TestnetPeer) -> bool:
    """Refresh one peer's status, and whether it has answered.

    A peer that does not keeps its last one, and an answer of an earlier life is none.
    """
    asked = peer.process
    if asked is None or peer.state not in ASKED:
        return False
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, NodeError):
        found = read_api_file(peer.settings.data_dir)
        if found.pid != asked.pid:
            return False
        async with session.get(f"http://{found.address}/v1/status") as answer:
            status = msgspec.json.decode(await answer.read(), type=NodeStatus)
        if peer.process is asked and status.peer_id == peer.peer_id:
            peer.status = status
            return True
    return False
