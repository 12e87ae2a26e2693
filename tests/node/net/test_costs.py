"""What outsiders cost has a bound, however many they are; who asks for little is not kept waiting, nor is a member."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.types import PeerId
from node.net.channel import ChannelClosedError
from node.net.costs import CostLimits, Costs, Moved, PeerRole
from node.net.wire import OrderingFrame
from tests.node.net.example_peers import QUICK, Outsider, identity_of, node_of, outsider_at, play, running, until

LIMITS = CostLimits()
NOTHING = Moved(0, 0)


def peer_of(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


@dataclass
class Asker:
    """Asks again as soon as it may."""

    peer: PeerId
    cost: float
    pause: float = 0.0
    next_at: float = 0.0
    used: float = 0.0
    waited: float = 0.0


def used_in(seconds: float, costs: Costs, askers: Iterable[Asker]) -> float:
    """Seconds of our loop that all of them together use in so much time."""
    present, now = list(askers), 0.0
    while True:
        asker = min(present, key=lambda asker: asker.next_at)
        now = asker.next_at
        if now > seconds:
            return sum(asker.used for asker in present)
        rest = costs.charge(asker.peer, asker.cost, NOTHING, now)
        asker.used += asker.cost
        asker.waited += rest
        asker.next_at = now + max(asker.pause, rest, 0.001)


def outsiders(costs: Costs, count: int, cost: float, group: str | None = None) -> list[Asker]:
    askers = [Asker(peer_of(number), cost) for number in range(1, count + 1)]
    for asker in askers:
        costs.on_peer_joined(asker.peer, PeerRole.OUTSIDER, group or f"10.0.0.{asker.peer[-1]}", 0.0)
    return askers


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 64), st.floats(0.000_5, 0.1))
def test_outsiders_never_use_more_than_their_share_and_what_was_saved(count: int, cost: float) -> None:
    costs = Costs(LIMITS, members=4, now=0.0)
    used = used_in(20.0, costs, outsiders(costs, count, cost))
    share = LIMITS.outsiders
    assert used <= 20.0 * share.share * 1.05 + share.burst + 3 * count * cost


def test_one_outsider_and_one_subnet_have_bounds_of_their_own() -> None:
    costs = Costs(LIMITS, members=0, now=0.0)
    used = used_in(20.0, costs, outsiders(costs, 1, 0.005))
    assert used <= 20.0 * LIMITS.outsider.share + LIMITS.outsider.burst + 0.1
    costs = Costs(LIMITS, members=0, now=0.0)
    used = used_in(20.0, costs, outsiders(costs, 8, 0.005, "203.0.114.0/24"))
    assert used <= 20.0 * LIMITS.group.share + LIMITS.group.burst + 0.1


def test_who_asks_for_little_waits_little_while_others_ask_for_all_they_can_get() -> None:
    costs = Costs(LIMITS, members=4, now=0.0)
    greedy = outsiders(costs, 8, 0.005)
    modest = Asker(peer_of(99), cost=0.001, pause=0.5)
    costs.on_peer_joined(modest.peer, PeerRole.OUTSIDER, "10.0.9.9", 0.0)
    used_in(60.0, costs, [*greedy, modest])
    assert modest.waited / (modest.used / modest.cost) <= 0.1
    assert modest.used == pytest.approx(0.12, rel=0.05)


def test_members_and_those_whom_we_chose_are_not_slowed_by_outsiders() -> None:
    for is_open, role in ((False, PeerRole.MEMBER), (True, PeerRole.CHOSEN)):
        costs = Costs(LIMITS, 0 if is_open else 4, 0.0)
        ours = Asker(peer_of(99), cost=0.002, pause=0.01)
        costs.on_peer_joined(ours.peer, role, "10.0.9.9", 0.0)
        used_in(20.0, costs, [*outsiders(costs, 64, 0.005), ours])
        assert ours.waited == 0.0


def test_whoever_comes_or_was_chosen_leaves_some_of_the_loop_to_our_own_work() -> None:
    costs = Costs(LIMITS, members=0, now=0.0)
    came, chosen = outsiders(costs, 64, 0.005), [Asker(peer_of(number), 0.005) for number in range(100, 108)]
    for asker in chosen:
        costs.on_peer_joined(asker.peer, PeerRole.CHOSEN, "10.0.9.9", 0.0)
    early = used_in(20.0, costs, [*came, *chosen])
    late = used_in(60.0, costs, [*came, *chosen]) - early
    assert late <= 40.0 * 0.92


@pytest.mark.slow
@pytest.mark.parametrize("faulty", [1, 2, 5])
def test_all_members_that_may_lie_leave_half_of_the_loop(faulty: int) -> None:
    costs = Costs(LIMITS, members=3 * faulty + 1, now=0.0)
    liars = [Asker(peer_of(number), 0.001) for number in range(faulty)]
    for liar in liars:
        costs.on_peer_joined(liar.peer, PeerRole.MEMBER, None, 0.0)
    saved = faulty * LIMITS.liars.burst
    assert used_in(600, costs, liars) < 0.51 * 600 + saved


def test_who_leaves_and_comes_again_finds_the_debts_of_its_subnet() -> None:
    costs = Costs(LIMITS, members=0, now=0.0)
    for number in range(1, 200):
        costs.on_peer_joined(peer_of(number), PeerRole.OUTSIDER, "203.0.114.0/24", 0.0)
        rest = costs.charge(peer_of(number), 0.05, NOTHING, 0.0)
        costs.on_peer_left(peer_of(number))
    assert rest >= 0.05 / LIMITS.group.share


def test_bytes_and_frames_count_once() -> None:
    costs = Costs(LIMITS, members=0, now=0.0)
    costs.on_peer_joined(peer_of(1), PeerRole.OUTSIDER, None, 0.0)
    assert costs.charge(peer_of(1), 0.0, Moved(1, 20_000_000), 0.0) == 0.0
    assert costs.charge(peer_of(1), 0.0, Moved(1, 20_000_000), 0.0) == 0.0
    assert costs.charge(peer_of(1), 0.0, Moved(2, 200_000_000), 0.0) > 0.0


class Processor:
    """Each thing that is done takes so many seconds, whatever it is."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._reading = 0.0

    def __call__(self) -> float:
        self._reading += self._seconds
        return self._reading


def test_outsiders_are_slowed_down_and_a_member_is_not_and_nobody_is_refused() -> None:
    async def scenario() -> None:
        of_two = replace(QUICK, members=frozenset({identity_of(1).peer, identity_of(2).peer}))
        ann = node_of(1, settings=of_two, stopwatch=Processor(0.01))
        async with running(ann), outsider_at(ann) as one, outsider_at(ann) as two:
            for number, outsider in ((10, one), (11, two)):
                await outsider.shake(identity_of(number))
            ben = node_of(2, (ann.address,), settings=of_two)
            async with running(ben):
                await until(lambda: len(ann.connected) == 3)
                tasks = [asyncio.create_task(speak_without_end(outsider)) for outsider in (one, two)]
                await until(lambda: sum(message == b"outsider" for message in ann.inbox) > 50)
                await asyncio.sleep(0.2)
                heard = sum(message == b"outsider" for message in ann.inbox)
                for number in range(100):
                    ben.network.send(identity_of(1).peer, b"member %d" % number)
                await until(lambda: b"member 99" in ann.inbox, 1.0)
                assert sum(message == b"outsider" for message in ann.inbox) - heard <= 30, "10 a second together"
                assert {identity_of(10).peer, identity_of(11).peer} <= ann.connected
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    play(scenario)


async def speak_without_end(outsider: Outsider) -> None:
    try:
        while True:
            await outsider.say(OrderingFrame(b"outsider"))
            await asyncio.sleep(0.002)
    except ChannelClosedError:
        return


def test_who_is_of_use_waits_little_in_an_open_network_however_many_outsiders_ask_for_all_they_may() -> None:
    waited: dict[bool, float] = {}
    for is_favoured in (False, True):
        costs = Costs(LIMITS, members=0, now=0.0)
        greedy = [Asker(peer_of(number), 0.002) for number in range(56)]
        for number, asker in enumerate(greedy):
            costs.on_peer_joined(asker.peer, PeerRole.OUTSIDER, f"44.{number // 8}.1.0/24", 0.0)
        honest = Asker(peer_of(99), 0.001, pause=0.1)
        costs.on_peer_joined(honest.peer, PeerRole.OUTSIDER, "45.1.1.0/24", 0.0)
        costs.favour([honest.peer] if is_favoured else [])
        used = used_in(30.0, costs, [*greedy, honest])
        waited[is_favoured] = honest.waited
        assert used <= 30.0 * (LIMITS.outsiders_of_open.share + LIMITS.useful.share) + 4.0
    assert waited[False] > 15.0
    assert waited[True] < 0.5


def test_who_is_of_use_no_more_or_leaves_frees_its_part() -> None:
    costs, unused = (Costs(LIMITS, members=0, now=0.0) for _ in range(2))
    for number in (1, 2):
        costs.on_peer_joined(peer_of(number), PeerRole.OUTSIDER, None, 0.0)
    costs.favour([peer_of(1), peer_of(2)])
    costs.on_peer_left(peer_of(1))
    costs.favour([peer_of(2)])
    costs.favour([])
    costs.on_peer_left(peer_of(2))
    for each in (costs, unused):
        for number in (3, 4):
            each.on_peer_joined(peer_of(number), PeerRole.OUTSIDER, None, 0.0)
        each.favour([peer_of(4)])
    for number in (3, 4):
        rests = [each.charge(peer_of(number), 10.0, Moved(0, 0), 0.0) for each in (costs, unused)]
        assert rests[0] == rests[1] > 0.0


def test_small_questions_with_large_answers_take_no_more_of_our_link_than_the_outsiders_share() -> None:
    part, seconds = 524_288, 30.0
    for role, is_bounded in ((PeerRole.OUTSIDER, True), (PeerRole.CHOSEN, False)):
        costs = Costs(LIMITS, members=0, now=0.0)
        next_at = {peer_of(number): 0.0 for number in range(8)}
        asked = dict.fromkeys(next_at, 0)
        for peer in next_at:
            costs.on_peer_joined(peer, role, None, 0.0)
        while (now := min(next_at.values())) < seconds:
            peer = min(next_at, key=next_at.__getitem__)
            asked[peer] += 1
            rest = costs.charge(peer, 0.0001, Moved(2 * asked[peer], part * asked[peer]), now)
            next_at[peer] = now + max(rest, 0.02)
        bound = LIMITS.outsiders_bytes.share * seconds + LIMITS.outsiders_bytes.burst + 16 * part
        assert (sum(asked.values()) * part <= bound) == is_bounded
