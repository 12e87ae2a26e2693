"""What is wrong with an event is told before anything is done.

Events are checked, done one after the other, and told; those that need running peers are in test_inject_as_processes.py.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from node.common.errors import EXIT_CANNOT_NOW, EXIT_USAGE, NodeError
from node.common.wording import command_text
from node.lab.faults.catalogue import FAULTS
from node.lab.scenarios.events import (
    BackUp,
    Clock,
    Crash,
    Cut,
    Event,
    Heal,
    Misbehave,
    Partition,
    Pause,
    PeerNumbers,
    RestoreOldDisk,
    Resume,
    Wipe,
)
from node.lab.testnet.executor import UP, TestnetExecutor, canonical_fault, check_numbers, check_state, whole_division
from node.lab.testnet.peer import PeerState, TestnetPeer
from node.storage.folder import NodeFolder
from tests.node.lab.testnet.example_testnet import AliveProcess, made


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((), "no peer is named"),
        ((4,), "there is no peer 4"),
        ((-1,), "there is no peer -1"),
        ((2, 0, 2), "peer 2 is named twice"),
    ],
)
def test_numbers_that_name_no_peer_or_one_twice(numbers: PeerNumbers, told: str) -> None:
    with pytest.raises(NodeError) as raised:
        check_numbers(numbers, 4)
    assert (raised.value.message, raised.value.exit_code) == (told, EXIT_USAGE)


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (((0, 1), ()), "a group of the partition is empty"),
        (((0, 1), (1, 2)), "peer 1 is named twice"),
        (((0, 5),), "there is no peer 5"),
        (((0, 1, 2, 3),), "all peers are in one group: that parts nobody"),
        ((), "no peer is named"),
    ],
)
def test_groups_that_part_nobody_or_one_peer_from_itself(groups: tuple[PeerNumbers, ...], told: str) -> None:
    with pytest.raises(NodeError) as raised:
        whole_division(groups, 4)
    assert (raised.value.message, raised.value.exit_code) == (told, EXIT_USAGE)


def test_those_in_no_group_are_one_more() -> None:
    assert whole_division(((1,),), 4) == ((1,), (0, 2, 3))
    assert whole_division(((0, 1), (2, 3)), 4) == ((0, 1), (2, 3))


def test_a_peer_in_another_state_is_named_with_the_way_out(tmp_path: Path) -> None:
    _, peers = made(tmp_path, nodes=2)
    with pytest.raises(NodeError) as raised:
        check_state(peers, "pause", UP)
    error = raised.value
    assert (error.message, error.fix, error.exit_code) == (
        "cannot pause peer-0: it is absent",
        "start it with --restart",
        EXIT_CANNOT_NOW,
    )


def test_who_runs_and_is_to_be_resumed_is_told_that_it_runs(tmp_path: Path) -> None:
    _, peers = made(tmp_path, nodes=1)
    peers[0].process = AliveProcess()
    with pytest.raises(NodeError) as raised:
        check_state(peers, "resume", (PeerState.PAUSED,))
    told = ("cannot resume peer-0: it is starting", "it runs already: only a paused peer can be resumed")
    assert (raised.value.message, raised.value.fix) == told


def test_a_fault_is_written_out_and_must_fit_the_network(tmp_path: Path) -> None:
    rules, _ = made(tmp_path)
    assert canonical_fault("equivocate+worst-candidate", rules) == "equivocate:share=0.5+worst-candidate"
    assert canonical_fault("", rules) == ""
    for text, told in (
        ("equivocat", f"did you mean 'equivocate'? {command_text('testnet', '--list-faults')} lists all {len(FAULTS)}"),
        ("sign-flip:scale=10", "the fault 'sign-flip:scale=10' is one of gradient learning, and the network's is evolution"),
        ("private-chain", "is one of proof-of-work, and the network's consensus is total-order"),
    ):
        with pytest.raises(NodeError) as raised:
            canonical_fault(text, rules)
        assert raised.value.message.endswith(told)


class Ledger:
    """A Divider that writes down what it is asked."""

    def __init__(self) -> None:
        self.divisions: list[tuple[PeerNumbers, ...]] = []

    async def divide(self, groups: tuple[PeerNumbers, ...]) -> None:
        self.divisions.append(groups)


class Stage:
    """Four peers that do not run, and hands on them."""

    def __init__(self, folder: Path) -> None:
        rules, self.peers = made(folder)
        self.ledger = Ledger()
        self.told: list[str] = []
        self.hands = TestnetExecutor(self.peers, rules, self.ledger, self.told.append)

    def do(self, *events: Event) -> list[str]:
        """What was said of each."""

        async def in_order() -> list[str]:
            return [await self.hands.do(event) for event in events]

        return asyncio.run(in_order())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def groups_of(peers: list[TestnetPeer]) -> list[int | None]:
    return [peer.group for peer in peers]


def test_a_partition_replaces_an_earlier_one_and_a_heal_ends_it(stage: Stage) -> None:
    assert stage.do(Partition(((0, 1), (2, 3)))) == ["parted: peer-0, peer-1 / peer-2, peer-3"]
    assert groups_of(stage.peers) == [0, 0, 1, 1]
    assert stage.do(Partition(((1,),)), Heal(), Heal()) == [
        "parted: peer-1 / peer-0, peer-2, peer-3",
        "healed: everybody reaches everybody again",
        "there was no partition",
    ]
    assert groups_of(stage.peers) == [None] * 4
    assert stage.ledger.divisions == [((0, 1), (2, 3)), ((1,), (0, 2, 3)), ((0, 1, 2, 3),)]
    assert len(stage.told) == 4


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Crash((1,)), "cannot kill peer-1: it is absent"),
        (Pause((1,)), "cannot pause peer-1: it is absent"),
        (Resume((1,)), "cannot resume peer-1: it is absent"),
        (Misbehave((1,), "mute"), "cannot restart peer-1: it is absent"),
        (Misbehave((1,), "moot"), f"lists all {len(FAULTS)}"),
        (BackUp((2,)), "peer-2 has no database yet"),
        (RestoreOldDisk((0, 2)), "there is no copy of peer-0's database"),
        (Partition(((0, 1, 2, 3),)), "all peers are in one group: that parts nobody"),
        (Crash((4,)), "there is no peer 4"),
        (Clock((1,), 500), "clock can only be simulated: all peers share this machine's clock"),
        (Cut((0,), (1,)), "cut can only be simulated: a partition of processes holds in both directions; take partition"),
    ],
)
def test_what_cannot_be_done_changes_nothing_and_is_not_told_to_all(stage: Stage, event: Event, told: str) -> None:
    with pytest.raises(NodeError) as raised:
        stage.do(event)
    assert raised.value.message.endswith(told)
    assert (stage.told, stage.ledger.divisions, groups_of(stage.peers)) == ([], [], [None] * 4)


def test_a_wiped_disk_is_empty_and_an_old_disk_is_as_it_was(stage: Stage) -> None:
    folder = stage.peers[2].settings.data_dir

    def remembered(write: str | None = None) -> str | None:
        with NodeFolder.open(folder) as opened:
            found = opened.store.meta("life")
            if write is not None:
                opened.store.set_meta("life", write)
        return found

    remembered("first")
    stage.do(BackUp((2,)))
    remembered("second")
    assert stage.do(RestoreOldDisk((2,))) == ["brought back the old database of peer-2"]
    assert remembered() == "first"
    assert stage.do(Wipe((2,))) == ["lost the database of peer-2"]
    assert remembered() is None
    with NodeFolder.open(folder) as opened:
        assert opened.identity.peer_id.hex() == stage.peers[2].peer_id


def test_events_wait_for_each_other_and_none_is_done_once_the_testnet_stops(stage: Stage) -> None:
    entered, done = asyncio.Event(), []

    async def slowly(groups: tuple[PeerNumbers, ...]) -> None:
        entered.set()
        await asyncio.sleep(0.1)
        done.append(groups)

    async def scenario() -> None:
        stage.ledger.divide = slowly
        first = asyncio.create_task(stage.hands.do(Partition(((0,),))))
        second = asyncio.create_task(stage.hands.do(Heal()))
        await entered.wait()
        assert done == []
        assert await asyncio.gather(first, second) == [stage.told[0], "healed: everybody reaches everybody again"]
        assert done == [((0,), (1, 2, 3)), ((0, 1, 2, 3),)]
        third = asyncio.create_task(stage.hands.do(Partition(((0,),))))
        await asyncio.sleep(0)
        assert await stage.hands.stop_all() == ()
        assert await third == stage.told[0]
        with pytest.raises(NodeError, match="the testnet is stopping"):
            await stage.hands.do(Heal())

    play(scenario)


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(whole())
