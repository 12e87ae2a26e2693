"""A scenario played on real peers: its events befall them in real time, their stores are read, their progress is judged.

As in a simulation: first whatever must never be, then whether everybody moved on in the calm at the end. What only a simulator
can do is refused.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from consensus.effects import Halt
from consensus.types import PeerId
from learning.learner import StepAdopted
from node.api.status import NodeStatus, StepStatus
from node.common.errors import EXIT_DISAGREEMENT, EXIT_GOAL_NOT_MET, EXIT_INTERRUPTED, EXIT_OK, MEND_FILE, NodeError
from node.common.wording import counted
from node.lab.checkers.finding import Diverged, NoProgress, RunOutcome
from node.lab.checkers.finding import Event as Seen
from node.lab.checkers.progress import ExpectedPace
from node.lab.scenarios.events import PeerNumbers
from node.lab.scenarios.scenario import LinksSection, Scenario, TimedEvent, in_order, late_peers, milliseconds, read_scenario
from node.lab.scenarios.scenario_check import check, unplayable, warnings
from node.lab.simulation.report import excerpt_lines, exit_code, reason
from node.lab.store_audit.log import LOG_NAME
from node.lab.testnet.auditing_executor import AuditingExecutor, now
from node.lab.testnet.commands import CommandExecutor
from node.lab.testnet.executor import SIMULATED
from node.lab.testnet.objective import ObjectiveContext, TestnetOutcome
from node.lab.testnet.peer import PeerState, TestnetPeer, last_error
from node.rules.typed_toml import TomlProblem

PEERS_MAX = 64
"""Each peer is three processes and 50 to 100 MB of its own."""


def read_script(path: Path) -> Scenario:
    """The scenario in a file. Raises NodeError where it contradicts itself, or asks for what real processes cannot do."""
    scenario = read_scenario(path)
    try:
        check(scenario)
        for problem in _misfits(scenario):
            raise TomlProblem(problem)
    except TomlProblem as problem:
        raise NodeError(f"{path}: {problem}", MEND_FILE) from problem
    return scenario


def remarks(scenario: Scenario) -> tuple[str, ...]:
    """What is allowed, and may surprise."""
    return (*warnings(scenario), *_unheeded(scenario))


def _misfits(scenario: Scenario) -> Iterator[str]:
    if scenario.peers > PEERS_MAX:
        yield f"peers is {scenario.peers}; allowed is 1 to {PEERS_MAX} on real processes"
    yield from unplayable(scenario, SIMULATED, "can only be simulated", "on real processes")


def _unheeded(scenario: Scenario) -> Iterator[str]:
    """Settings of the simulator that were given."""
    given = [name for name in LinksSection.__struct_fields__ if getattr(scenario.links, name) != getattr(LinksSection(), name)]
    if given:
        yield f"[links] is for the simulator: {', '.join(given)} change nothing here; links, disks and processors are real"
    if scenario.snapshot_behind:
        yield "snapshot_behind is for the simulator: real peers start from a checkpoint when they lag by far more"
    if not scenario.are_checked:
        yield "are_checked is for the simulator: real stores are always read"


READING_SECONDS = 3.0
"""How often all folders are read: three seconds' rows of ten peers take a tenth of a second."""

START_SECONDS_MAX = 120.0
"""Importing torch on a loaded machine takes seconds; a peer that has not answered after this will not."""

GRACE_SECONDS_MAX = 10.0
"""A peer's status may be seconds old on a loaded machine: so long after the end the pace may still be found kept."""

LOG_TAIL_BYTES = 4_096
"""The last line is in it, unless it is longer than any of ours."""

Told = tuple[int, str, str]
"""Height, id and state digest of a step, in hex."""


class Chaos:
    """Times are in seconds since the peers were started; those of events since all of them have answered.

    Implements `Objective`.
    """

    def __init__(
        self, scenario: Scenario, place: ObjectiveContext, auditor: AuditingExecutor, told: tuple[str, ...] = ()
    ) -> None:
        """`told`: what a person should know before."""
        self._scenario = scenario
        self._peers = place.peers
        self._goal_check = place.goal_check
        self._tell = place.tell
        self._auditor = auditor
        self._warned = told
        self._checkers = auditor.autopsy.checkers
        self._events = deque(in_order(scenario))
        self._began_s: float | None = None
        self._read_s = 0.0
        self._is_calm = False
        self._heard: dict[str, NodeStatus] = {}
        """By name: the last status that was looked at."""
        self._told_by: dict[str, set[Told]] = {}
        """By name: what its statuses have said of steps."""
        self._ended: dict[int, None] = {}
        """Process ids of peers whose end was told."""
        self._expected: tuple[PeerId, ...] = ()
        self._run_outcome: RunOutcome | None = None

    @property
    def executor(self) -> CommandExecutor:
        """What people inject is witnessed, too."""
        return self._auditor

    @property
    def absent(self) -> PeerNumbers:
        """Those that join later."""
        return tuple(sorted(late_peers(self._scenario)))

    def greeting(self) -> tuple[str, ...]:
        """What the scenario is, and where it may surprise."""
        scenario = self._scenario
        kind = f"{scenario.consensus}, {scenario.learning}"
        faulty = (f"{self._peers[number].name} misbehaves: {fault}" for number, fault in sorted(scenario.fault_of.items()))
        first = f'scenario "{scenario.name}" ({kind}): {counted(len(scenario.events), "event")} in {scenario.duration_s} s'
        return (first, *self._warned, *faulty, *(f"WARNING: {remark}" for remark in remarks(scenario)))

    async def advance(self, seconds: float) -> None:
        """Let happen what is due, and look. Raises NodeError where an event cannot be played."""
        await self._auditor.note(tuple(self._ends()))
        if self._began_s is None:
            if not self._are_all_up():
                return
            self._began_s = self._read_s = seconds
            self._tell("all peers run: the scenario begins")
        passed_ms = 1000 * (seconds - self._began_s)
        while self._events and milliseconds(self._events[0].at_s) <= passed_ms:
            await self._play(self._events.popleft())
        await self._auditor.note(tuple(self._news()))
        if not self._is_calm and passed_ms >= self._scenario.duration_ms - self._scenario.calm_ms:
            self._is_calm = True
            self._checkers.progress.calm(now())
        if seconds >= self._read_s + READING_SECONDS:
            self._read_s = seconds
            await self._auditor.read()

    def outcome(self, seconds: float, *, is_interrupted: bool) -> TestnetOutcome | None:
        """A finding, the end of the scenario, or Ctrl-C."""
        agreed = self._goal_check.agreed()
        disagreement = self._goal_check.disagreement()
        if self._checkers.finding is not None or disagreement is not None:
            return TestnetOutcome(EXIT_DISAGREEMENT, disagreement or "a checker has found something", seconds, agreed)
        if is_interrupted:
            return TestnetOutcome(EXIT_INTERRUPTED, "interrupted", seconds, agreed)
        if self._began_s is None:
            silent = [peer.name for peer in self._to_be_up() if peer.status is None]
            text = f"{', '.join(silent)} did not answer within {START_SECONDS_MAX:g} s"
            return TestnetOutcome(EXIT_GOAL_NOT_MET, text, seconds, None) if seconds >= START_SECONDS_MAX else None
        over_s = seconds - self._began_s - self._scenario.duration_ms / 1000
        if over_s < 0 or (over_s < GRACE_SECONDS_MAX and self._lags()):
            return None
        self._expected = self._keeping_pace()
        return TestnetOutcome(EXIT_OK, "the scenario is over", seconds, agreed)

    async def conclude(self, outcome: TestnetOutcome) -> TestnetOutcome:
        """Read all stores to their end; what they show counts more than how it ended."""
        await self._auditor.read_to_the_end()
        if self._checkers.finding is None and outcome.exit_code != EXIT_OK:
            return outcome
        self._run_outcome = ended = self._checkers.run_outcome(self._expected, self._pace, now())
        text = reason(ended)
        told = f"{type(ended).__name__}: {text}" if text else f"{type(ended).__name__}: {outcome.reason}"
        return replace(outcome, exit_code=exit_code(ended), reason=told)

    def remarks(self) -> tuple[str, ...]:
        """The part of what was seen that shows the finding, and whose keys its names begin."""
        lines = () if self._run_outcome is None else excerpt_lines(self._run_outcome)
        names = ", ".join(f"{peer.name} is {peer.peer_id[:8]}" for peer in self._peers)
        return (*(f"  | {line}" for line in lines), names) if lines or isinstance(self._run_outcome, NoProgress) else ()

    def document(self) -> dict[str, object]:
        """The outcome, as `simulate` tells it."""
        ended = self._run_outcome
        agreement = {"agreed": False} if isinstance(ended, Diverged) else {}
        return {
            **agreement,
            "scenario": self._scenario.name,
            "outcome": None if ended is None else type(ended).__name__,
            "finding": None if ended is None else reason(ended),
            "events_seen": self._auditor.autopsy.events_seen,
            "excerpt": [] if ended is None else list(excerpt_lines(ended)),
            "warnings": list(remarks(self._scenario)),
        }

    # --- events ---

    async def _play(self, timed: TimedEvent) -> None:
        try:
            await self._auditor.do(timed.event)
        except NodeError as error:
            raise NodeError(f"event {timed.event.kind} at {timed.at_s} s: {error.message}", error.fix) from error

    def _to_be_up(self) -> tuple[TestnetPeer, ...]:
        return tuple(peer for number, peer in enumerate(self._peers) if number not in self.absent)

    def _are_all_up(self) -> bool:
        return all(peer.status is not None for peer in self._to_be_up())

    # --- what is seen ---

    def _news(self) -> Iterator[tuple[PeerId, Seen]]:
        """The steps that a new status tells first, and the head after them."""
        for peer in self._peers:
            status, before = peer.status, self._heard.get(peer.name)
            if status is None or status is before:
                continue
            self._heard[peer.name] = status
            fresh = sorted({_told(step) for step in status.steps} - self._told_by.setdefault(peer.name, set()))
            self._told_by[peer.name].update(fresh)
            for told in fresh:
                yield _id(peer), _adopted(told)
            is_new = bool(fresh) or before is None or before.head != status.head
            if is_new and status.head is not None and status.height is not None and status.state_digest is not None:
                yield _id(peer), _adopted((status.height, status.head, status.state_digest))

    def _ends(self) -> Iterator[tuple[PeerId, Seen]]:
        """Peers that have ended by themselves."""
        for peer in self._peers:
            is_over = peer.state in {PeerState.STOPPED, PeerState.KILLED} and not peer.was_killed
            if is_over and peer.process is not None and peer.process.pid not in self._ended:
                self._ended[peer.process.pid or 0] = None
                yield _id(peer), Halt(_why_ended(peer))

    # --- progress ---

    @property
    def _pace(self) -> ExpectedPace:
        return ExpectedPace(self._scenario.expect.heights_min, self._scenario.expect.behind_max)

    def _keeping_pace(self) -> tuple[PeerId, ...]:
        """Who should have moved on: the silent too."""
        return tuple(_id(peer) for peer in self._peers if peer.is_honest and peer.is_running and not peer.is_paused)

    def _lags(self) -> bool:
        return self._checkers.progress.standstill(self._keeping_pace(), self._pace, now()) is not None


def _id(peer: TestnetPeer) -> PeerId:
    return PeerId(bytes.fromhex(peer.peer_id))


def _why_ended(peer: TestnetPeer) -> str:
    """With the last line of its log, which may be gone with its folder soon."""
    log = peer.settings.data_dir / LOG_NAME
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
        return f"{last_error(peer)}; its log ends: {lines[-1] if lines else ''}"
    return f"{last_error(peer)}"


def _told(step: StepStatus) -> Told:
    return step.height, step.id, step.state_digest


def _adopted(told: Told) -> StepAdopted:
    """Fitness and metrics are for people."""
    height, step, state_digest = told
    return StepAdopted(bytes.fromhex(step), height, 0.0, {}, bytes.fromhex(state_digest))
