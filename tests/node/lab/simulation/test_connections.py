"""Connections over virtual time: each fault of a link does what it says, and nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.effects import Offence, Refuse, Send, SetTimer
from consensus.protocol import PeerLeft, Received
from consensus.types import Instant
from node.lab.simulation.links import ConstantLatency, Links, Uniform
from tests.node.lab.simulation.puppet import START, Stage

TEN_MS = Links(latency=ConstantLatency(10), disk_ms=0)
PATIENT = Links(latency=ConstantLatency(10), disk_ms=0, silence_ms=5_000, reconnect_ms=100)


def send(stage: Stage, sender: int, receiver: int, *messages: bytes) -> None:
    stage.tell(sender, *(Send(stage.ids[receiver], message) for message in messages))


def test_a_message_takes_the_time_of_the_link() -> None:
    stage = Stage(2, TEN_MS)
    send(stage, 0, 1, b"one", b"two")
    stage.network.run_for(9)
    assert stage.puppet(1).messages == []
    stage.network.run_for(1)
    assert stage.puppet(1).messages == [(10, b"one"), (10, b"two")]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), gaps=st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_messages_of_a_connection_keep_their_order(seed: int, gaps: list[int]) -> None:
    stage = Stage(2, Links(latency=Uniform(1, 100), disk_ms=0), seed)
    for number, gap in enumerate(gaps):
        send(stage, 0, 1, b"%d" % number)
        stage.network.run_for(gap)
    stage.network.run_for(100)
    assert [message for _, message in stage.puppet(1).messages] == [b"%d" % number for number in range(len(gaps))]


def test_messages_overtake_each_other_where_links_keep_no_order() -> None:
    stage = Stage(2, Links(latency=Uniform(1, 100), disk_ms=0, is_ordered=False))
    send(stage, 0, 1, *(b"%d" % number for number in range(20)))
    stage.network.run_for(100)
    came = [int(message) for _, message in stage.puppet(1).messages]
    assert sorted(came) == list(range(20))
    assert came != sorted(came)


def test_an_uplink_sends_one_message_after_the_other_to_whomever() -> None:
    stage = Stage(3, Links(latency=ConstantLatency(10), disk_ms=0, uplink_kbit_s=8))
    stage.tell(0, Send(stage.ids[1], bytes(960)), Send(stage.ids[2], bytes(960)))
    stage.network.run_for(5_000)
    assert [at for at, _ in stage.puppet(1).messages] == [1_000 + 10]
    assert [at for at, _ in stage.puppet(2).messages] == [2_000 + 10]
    assert stage.peer(0).bytes_sent == 2 * 1_000


def test_a_reset_loses_what_is_under_way_and_the_two_connect_anew() -> None:
    stage = Stage(2, PATIENT)
    send(stage, 0, 1, b"lost")
    stage.network.run_for(5)
    stage.network.reset(stage.ids[0], stage.ids[1])
    stage.network.run_for(1)
    send(stage, 0, 1, b"without a connection")
    stage.network.run_for(200)
    send(stage, 0, 1, b"anew")
    stage.network.run_for(10)
    assert stage.puppet(1).kinds() == ["PeerJoined", "PeerLeft", "PeerJoined", "Received"]
    assert stage.puppet(0).kinds() == ["PeerJoined", "PeerLeft", "PeerJoined"]
    assert [message for _, message in stage.puppet(1).messages] == [b"anew"]


def test_a_direction_that_is_cut_for_short_delivers_late_and_the_other_one_works() -> None:
    stage = Stage(2, PATIENT)
    stage.network.cut([stage.ids[0]], [stage.ids[1]])
    send(stage, 0, 1, b"one", b"two")
    send(stage, 1, 0, b"back")
    stage.network.run_for(4_000)
    assert (stage.puppet(0).messages, stage.puppet(1).messages) == ([(10, b"back")], [])
    stage.network.heal()
    stage.network.run_for(10_000)
    assert stage.puppet(1).messages == [(4_000, b"one"), (4_000, b"two")]
    assert stage.puppet(1).kinds() == ["PeerJoined", "Received", "Received"]


def test_a_direction_that_is_cut_for_long_ends_the_connection_on_both_sides() -> None:
    stage = Stage(2, PATIENT)
    stage.network.cut([stage.ids[0]], [stage.ids[1]])
    send(stage, 0, 1, b"lost")
    stage.network.run_for(20_000)
    assert (stage.puppet(0).kinds(), stage.puppet(1).kinds()) == (["PeerJoined", "PeerLeft"],) * 2
    stage.network.heal()
    stage.network.run_for(1_000)
    assert (stage.puppet(0).kinds(), stage.puppet(1).kinds()) == (["PeerJoined", "PeerLeft", "PeerJoined"],) * 2


def test_a_cut_that_comes_again_counts_its_silence_anew() -> None:
    stage = Stage(2, PATIENT)
    for _ in range(3):
        stage.network.cut([stage.ids[0]], [stage.ids[1]])
        stage.network.run_for(3_000)
        stage.network.heal()
        stage.network.run_for(1_000)
    assert stage.puppet(0).kinds() == ["PeerJoined"]


def test_a_split_of_any_shape_parts_groups_and_nobody_within() -> None:
    stage = Stage(5, TEN_MS)
    stage.network.split([stage.ids[0], stage.ids[1]], [stage.ids[2]])
    stage.network.run_for(1)
    for receiver in range(1, 5):
        send(stage, 0, receiver, b"from 0")
    send(stage, 3, 4, b"from 3")
    stage.network.run_for(100)
    assert [len(stage.puppet(number).messages) for number in range(5)] == [0, 1, 0, 0, 1]


def test_who_is_refused_is_cut_off_for_a_time() -> None:
    stage = Stage(2, Links(latency=ConstantLatency(10), disk_ms=0, refusal_ms=60_000))
    stage.tell(0, Refuse(stage.ids[1], Offence.MALFORMED, "a test"))
    stage.network.run_for(59_999)
    assert stage.puppet(1).kinds() == ["PeerJoined", "PeerLeft"]
    stage.network.run_for(1)
    assert stage.puppet(1).kinds() == ["PeerJoined", "PeerLeft", "PeerJoined"]


def test_a_paused_peer_hears_everything_in_order_once_it_is_resumed() -> None:
    stage = Stage(2, PATIENT)
    stage.tell(1, SetTimer("early", Instant(START + 100)))
    stage.network.pause(stage.ids[1])
    send(stage, 0, 1, b"one")
    stage.network.run_for(200)
    send(stage, 0, 1, b"two")
    stage.network.run_for(800)
    assert stage.puppet(1).kinds() == ["PeerJoined"]
    stage.network.resume(stage.ids[1])
    stage.network.run_for(0)
    assert stage.puppet(1).kinds() == ["PeerJoined", "Received", "TimerFired", "Received"]
    assert {at for at, _ in stage.puppet(1).heard[1:]} == {1_000}


def test_a_peer_that_is_paused_for_long_is_given_up_and_comes_back() -> None:
    stage = Stage(2, PATIENT)
    stage.network.pause(stage.ids[1])
    send(stage, 0, 1, b"lost with the connection")
    stage.network.run_for(6_000)
    assert stage.puppet(0).kinds() == ["PeerJoined", "PeerLeft"]
    stage.network.resume(stage.ids[1])
    stage.network.run_for(1_000)
    assert stage.puppet(0).kinds() == stage.puppet(1).kinds() == ["PeerJoined", "PeerLeft", "PeerJoined"]


def test_a_slow_peer_takes_one_message_after_the_other() -> None:
    stage = Stage(2, TEN_MS)
    stage.network.slow_down(stage.ids[1], 20.0)
    send(stage, 0, 1, b"one", b"two", b"three")
    stage.network.run_for(1_000)
    assert stage.puppet(1).messages == [(30, b"one"), (50, b"two"), (70, b"three")]


def test_what_a_peer_has_sent_before_a_crash_arrives_and_what_was_under_way_to_it_is_lost() -> None:
    stage = Stage(2, TEN_MS)
    send(stage, 0, 1, b"lost")
    send(stage, 1, 0, b"the last word")
    stage.network.run_for(5)
    stage.network.crash(stage.ids[1])
    stage.network.run_for(50)
    assert stage.puppet(0).heard[1:] == [(10, Received(stage.ids[1], b"the last word")), (10, PeerLeft(stage.ids[1]))]
    stage.network.restart(stage.ids[1])
    stage.network.run_for(50)
    assert (stage.puppet(0).kinds()[-1], stage.puppet(1).kinds()) == ("PeerJoined", ["PeerJoined"])


def test_a_peer_that_is_back_at_once_hears_nothing_that_was_meant_for_its_earlier_life() -> None:
    stage = Stage(2, TEN_MS)
    send(stage, 0, 1, b"lost")
    stage.network.crash(stage.ids[1])
    stage.network.restart(stage.ids[1])
    stage.network.run_for(50)
    assert stage.puppet(0).kinds() == ["PeerJoined", "PeerLeft", "PeerJoined"]
    assert stage.puppet(1).kinds() == ["PeerJoined"]
