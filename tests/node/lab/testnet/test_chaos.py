"""A scenario's events become events in time, and what is seen of the peers becomes an outcome."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from consensus.types import Instant, PeerId
from node.api.status import NodeStatus, StepStatus
from node.common.errors import EXIT_DISAGREEMENT, EXIT_GOAL_NOT_MET, EXIT_INTERRUPTED, EXIT_OK, NodeError
from node.lab.scenarios.events import Crash, Event, Heal, Join, Misbehave, Partition, Wipe
from node.lab.scenarios.scenario import parse_scenario
from node.lab.scenarios.scenario_rules import scenario_rules
from node.lab.store_audit.autopsy import Autopsy
from node.lab.store_audit.log import LOG_NAME
from node.lab.testnet.auditing_executor import AuditingExecutor
from node.lab.testnet.chaos import GRACE_SECONDS_MAX, START_SECONDS_MAX, Chaos
from node.lab.testnet.objective import GoalCheck, ObjectiveContext
from node.lab.testnet.peer import SILENT_SECONDS, TestnetPeer
from node.lab.testnet.setup import make_peers
from tests.node.lab.testnet.example_testnet import SETTINGS, AliveProcess, EndedProcess

STORY = """
name = "story"
consensus = "total-order"
learning = "evolution"
peers = 4
duration_s = 30

[expect]
calm_s = 20
heights_min = 2
behind_max = 1

[[event]]
at_s = 4
kind = "heal"

[[event]]
at_s = 2
kind = "partition"
groups = [[0, 1], [2, 3]]

[[event]]
at_s = 5
kind = "join"
peers = [3]
"""


class Diary:
    """An executor that writes down what it is told, and refuses what it cannot do."""

    def __init__(self, peers: Sequence[TestnetPeer], refused: type[Event] | None = None) -> None:
        self.events: list[Event] = []
        self._peers = peers
        self._refused = refused

    async def do(self, event: Event) -> str:
        if self._refused is not None and isinstance(event, self._refused):
            raise NodeError("peer-1 is stopped", None)
        self.events.append(event)
        for number in event.peers if isinstance(event, Crash | Join | Misbehave) else ():
            self._peers[number].process = None if isinstance(event, Crash) else AliveProcess()
            self._peers[number].was_faulty |= isinstance(event, Misbehave)
        return "done"


@dataclass
class Stage:
    """A scenario with peers that a test speaks for."""

    peers: list[TestnetPeer]
    diary: Diary
    chaos: Chaos
    autopsy: Autopsy
    told: list[str] = field(default_factory=list)

    def pass_by(self, seconds: float, *heights: int | None) -> None:
        """All these peers tell their heights at this time; None: nothing."""
        for peer, height in zip(self.peers, heights, strict=False):
            peer.status = peer.status if height is None else status_of(peer, height)
        asyncio.run(self.chaos.advance(seconds))


def digest(*parts: object) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=32).hexdigest()


def status_of(peer: TestnetPeer, height: int, branch: str = "") -> NodeStatus:
    steps = tuple(StepStatus(number, digest("step", number), digest("state", number, branch)) for number in range(height + 1))
    newest = steps[-1]
    return NodeStatus("1", "n", peer.peer_id, height=height, head=newest.id, state_digest=newest.state_digest, steps=steps)


def stage(folder: Path, text: str = STORY, refused: type[Event] | None = None) -> Stage:
    scenario = parse_scenario(text)
    rules, peers = make_peers(SETTINGS, folder, lambda keys: scenario_rules(scenario, None, keys, 0.3))
    for peer in peers:
        peer.process = AliveProcess()
    diary = Diary(peers, refused)
    placed = [(PeerId(bytes.fromhex(peer.peer_id)), peer.settings.data_dir) for peer in peers]
    autopsy = Autopsy(rules, placed, (), Instant(0), is_followed=True)
    told: list[str] = []
    place = ObjectiveContext(peers, diary, GoalCheck(SETTINGS, peers), told.append)
    return Stage(peers, diary, Chaos(scenario, place, AuditingExecutor(diary, peers, autopsy)), autopsy, told)


def test_events_are_done_in_the_order_of_their_times_once_all_peers_have_answered(tmp_path: Path) -> None:
    on = stage(tmp_path)
    assert on.chaos.absent == (3,)
    on.pass_by(7, 0, 0)
    assert (on.diary.events, on.told) == ([], [])
    on.pass_by(10, 0, 0, 0)
    assert on.told == ["all peers run: the scenario begins"]
    on.pass_by(11.9)
    assert on.diary.events == []
    on.pass_by(12)
    assert on.diary.events == [Partition(((0, 1), (2, 3)))]
    on.pass_by(15.5)
    assert on.diary.events[1:] == [Heal(), Join((3,))]


def played(on: Stage, *heights: int) -> None:
    """To the end; the calm begins at height 5."""
    on.pass_by(0, 0, 0, 0, 0)
    on.pass_by(10, 5, 5, 5, 5)
    on.pass_by(30, *heights)


def test_who_gains_and_keeps_up_has_passed(tmp_path: Path) -> None:
    on = stage(tmp_path)
    played(on, 8, 7, 8, 8)
    outcome = on.chaos.outcome(30, is_interrupted=False)
    assert outcome is not None
    concluded = asyncio.run(on.chaos.conclude(outcome))
    assert (concluded.exit_code, concluded.reason) == (EXIT_OK, "Pass: the scenario is over")
    assert on.chaos.remarks() == ()


@pytest.mark.parametrize(
    ("heights", "why"),
    [
        ((6, 6, 6, 6), "gained 1 heights, expected 2 or more"),
        ((9, 9, 9, 7), "is 2 behind the highest, expected 1 or less"),
    ],
)
def test_who_stands_still_or_stays_behind_is_given_some_grace_and_then_named(
    tmp_path: Path, heights: tuple[int, ...], why: str
) -> None:
    on = stage(tmp_path)
    played(on, *heights)
    assert on.chaos.outcome(30, is_interrupted=False) is None
    outcome = on.chaos.outcome(30 + GRACE_SECONDS_MAX, is_interrupted=False)
    assert outcome is not None
    concluded = asyncio.run(on.chaos.conclude(outcome))
    assert concluded.exit_code == EXIT_GOAL_NOT_MET
    assert concluded.reason.startswith("NoProgress: ")
    assert why in concluded.reason
    assert f"peer-3 is {on.peers[3].peer_id[:8]}" in on.chaos.remarks()[-1]


def test_nobody_waits_for_a_peer_that_is_down_at_the_end(tmp_path: Path) -> None:
    on = stage(tmp_path)
    played(on, 9, 9, 9, 5)
    asyncio.run(on.chaos.executor.do(Crash((3,))))
    assert on.chaos.outcome(30, is_interrupted=False) is not None


def test_a_peer_that_hangs_is_waited_for(tmp_path: Path) -> None:
    on = stage(tmp_path)
    played(on, 9, 9, 9, 5)
    on.peers[3].silent_s = SILENT_SECONDS
    assert on.chaos.outcome(30, is_interrupted=False) is None


def test_where_nobody_honest_is_up_at_the_end_nobody_has_moved_on(tmp_path: Path) -> None:
    on = stage(tmp_path)
    played(on, 9, 9, 9, 9)
    asyncio.run(on.chaos.executor.do(Misbehave((3,), "mute")))
    asyncio.run(on.chaos.executor.do(Crash((0, 1, 2))))
    outcome = on.chaos.outcome(30 + GRACE_SECONDS_MAX, is_interrupted=False)
    assert outcome is not None
    concluded = asyncio.run(on.chaos.conclude(outcome))
    told = "NoProgress: no honest peer is up at the end"
    assert (concluded.exit_code, concluded.reason) == (EXIT_GOAL_NOT_MET, told)


def test_two_states_at_one_step_end_it_at_once(tmp_path: Path) -> None:
    on = stage(tmp_path)
    on.pass_by(0, 0, 0, 0, 0)
    on.peers[2].status = status_of(on.peers[2], 4, branch="other")
    on.pass_by(1, 4, 4)
    outcome = on.chaos.outcome(1, is_interrupted=False)
    assert outcome is not None
    concluded = asyncio.run(on.chaos.conclude(outcome))
    assert concluded.exit_code == EXIT_DISAGREEMENT
    assert concluded.reason.startswith("Diverged: it does not hold that one step has one state: two states at step")
    assert on.chaos.document()["outcome"] == "Diverged"


def test_an_honest_peer_that_ends_by_itself_is_a_finding_and_one_that_was_killed_is_none(tmp_path: Path) -> None:
    on = stage(tmp_path)
    on.pass_by(0, 0, 0, 0, 0)
    on.peers[1].process, on.peers[1].was_killed = EndedProcess(2), True
    on.pass_by(1)
    assert on.chaos.outcome(1, is_interrupted=False) is None
    on.peers[1].was_killed = False
    (on.peers[1].settings.data_dir / LOG_NAME).write_text("Traceback\nAssertionError: we erred\n")
    on.pass_by(2)
    assert on.autopsy.checkers.finding is not None
    assert on.autopsy.checkers.finding.detail.startswith(f"{on.peers[1].peer_id[:8]} stops: ended with exit code 2")
    assert on.autopsy.checkers.finding.detail.endswith("its log ends: AssertionError: we erred")


def test_a_peer_that_ends_before_all_have_answered_ends_it(tmp_path: Path) -> None:
    on = stage(tmp_path)
    on.peers[1].process = EndedProcess(2)
    on.pass_by(1, 0)
    outcome = on.chaos.outcome(1, is_interrupted=False)
    assert outcome is not None
    assert outcome.exit_code == EXIT_DISAGREEMENT


def test_a_peer_that_never_answers_is_named(tmp_path: Path) -> None:
    on = stage(tmp_path)
    on.pass_by(START_SECONDS_MAX - 1, 0, 0)
    assert on.chaos.outcome(START_SECONDS_MAX - 1, is_interrupted=False) is None
    outcome = on.chaos.outcome(START_SECONDS_MAX, is_interrupted=False)
    assert outcome is not None
    assert (outcome.exit_code, outcome.reason) == (EXIT_GOAL_NOT_MET, "peer-2 did not answer within 120 s")


def test_an_interrupt_is_no_outcome_of_a_run(tmp_path: Path) -> None:
    on = stage(tmp_path)
    on.pass_by(0, 0, 0, 0, 0)
    outcome = on.chaos.outcome(1, is_interrupted=True)
    assert outcome is not None
    assert asyncio.run(on.chaos.conclude(outcome)) == outcome
    assert (outcome.exit_code, outcome.reason) == (EXIT_INTERRUPTED, "interrupted")


def test_an_event_that_cannot_be_played_is_named(tmp_path: Path) -> None:
    on = stage(tmp_path, refused=Partition)
    on.pass_by(0, 0, 0, 0, 0)
    with pytest.raises(NodeError, match="event partition at 2 s: peer-1 is stopped"):
        on.pass_by(3)


def test_who_turns_is_listened_to_no_more(tmp_path: Path) -> None:
    on = stage(tmp_path)
    on.pass_by(0, 0, 0, 0, 0)
    asyncio.run(on.chaos.executor.do(Misbehave((2,), "mute")))
    on.peers[2].status = status_of(on.peers[2], 4, branch="other")
    on.pass_by(1, 4, 4)
    assert on.autopsy.checkers.finding is None


def test_what_a_disk_is_to_lose_is_read_after_the_end_of_its_peer(tmp_path: Path) -> None:
    on = stage(tmp_path)
    asyncio.run(on.chaos.executor.do(Wipe((1,))))
    assert on.diary.events == [Crash((1,)), Wipe((1,))]
    asyncio.run(on.chaos.executor.do(Wipe((1,))))
    assert on.diary.events[2:] == [Wipe((1,))]
