"""Block times follow the wall clock that the shell tells of; deadlines follow what it hands over as now."""

from consensus.effects import SetTimer, SolvePuzzle
from consensus.proof_of_work.machine import SYNC_TIMER
from consensus.proof_of_work.messages import GetHeaders, Tip
from consensus.proof_of_work.peers import ANSWER_TIMEOUT_MS
from consensus.protocol import ClockRead, Offered, PeerLeft, TimerFired
from consensus.types import Instant, PeerId, WallTime
from consensus.wall_clock import PeerClocks
from tests.consensus.proof_of_work.bench import OTHER, PEER, Bench, of_type, sent
from tests.consensus.proof_of_work.forge import Forge, person, state_after
from tests.consensus.total_order.network import Network
from tests.consensus.total_order.test_faults import goes_on

HOUR_MS = 3_600_000
FORGE = Forge()
ALICE = person("alice")
CHAIN = FORGE.branch(FORGE.genesis, ALICE, 3)


def test_a_block_that_is_too_early_by_the_wall_clock_waits_until_the_wall_clock_is_put_forth() -> None:
    bench = Bench()
    time_ms = bench.now + HOUR_MS
    block = FORGE.child(FORGE.genesis, ALICE, time_ms=time_ms)
    bench.push(block)
    assert (bench.machine.status.height, bench.machine.status.peers_ahead_ms) == (0, HOUR_MS)
    assert bench.feed(ClockRead(HOUR_MS)) == ()
    assert bench.machine.status.peers_ahead_ms is None, "what was noted by another clock says nothing"
    bench.feed(TimerFired(SYNC_TIMER))
    assert bench.machine.status.height == 1


def test_a_puzzle_carries_the_wall_clock_s_time_and_its_timer_the_duration() -> None:
    bench = Bench(is_leading=True)
    bench.feed(ClockRead(-HOUR_MS))
    state = state_after(FORGE.genesis.id, ())
    effects = bench.feed(Offered(FORGE.genesis.id, (), b"", state))
    (puzzle,) = of_type(effects, SolvePuzzle)
    (timer,) = of_type(effects, SetTimer)
    assert (bench.now - HOUR_MS).to_bytes(8, "big") in puzzle.prefix
    assert 0 < timer.at - bench.now <= 1_000


def test_a_request_that_is_open_while_the_wall_clock_goes_back_an_hour_is_given_up_after_its_time_out() -> None:
    bench = Bench()
    tip = Tip(CHAIN[-1].link.id, 200, (10**6).to_bytes(40, "big"))
    for peer in (PEER, OTHER):
        bench.receive(tip, peer.id)
    bench.feed(ClockRead(-HOUR_MS))
    bench.now = Instant(bench.now + ANSWER_TIMEOUT_MS)
    assert [peer for peer, _ in sent(bench.feed(TimerFired(SYNC_TIMER)), GetHeaders)] == [OTHER.id]


def test_members_date_their_blocks_by_the_wall_clock_and_see_whose_clock_is_apart() -> None:
    network = Network(4)
    nodes = network.add_all()
    for node in nodes[1:]:
        network.feed(node, ClockRead(HOUR_MS))
    goes_on(network, nodes, commits=20)
    times = {node.steps[-1].time_ms - network.now > HOUR_MS // 2 for node in nodes}
    assert times == {True}, "the median over a quorum"
    assert nodes[0].machine.status.peers_ahead_ms > HOUR_MS - 1_000
    assert abs(nodes[1].machine.status.peers_ahead_ms) < 1_000


def test_the_median_of_the_clocks_is_some_peer_s_and_who_has_left_counts_no_more() -> None:
    clocks, wall = PeerClocks(), WallTime(1_000)
    assert clocks.median_ms is None
    for number, time_ms in enumerate((900, 5_000, 1_200, 1_100)):
        clocks.note(PeerId(bytes([number])), time_ms, wall)
    assert clocks.median_ms == 100
    clocks.leave(PeerId(bytes([0])))
    clocks.leave(PeerId(bytes([3])))
    assert clocks.median_ms == 200


def test_the_clock_of_who_has_left_is_forgotten() -> None:
    bench = Bench()
    bench.push(FORGE.child(FORGE.genesis, ALICE, time_ms=bench.now - 50))
    assert bench.machine.status.peers_ahead_ms == -50
    bench.feed(PeerLeft(PEER.id))
    assert bench.machine.status.peers_ahead_ms is None
