"""A node that stops waits for nobody, at whatever point of a newcomer's handshake it stops."""

from dataclasses import replace
from random import Random

from node.lab.simulation.links import ConstantLatency
from node.lab.simulation.sockets.internet import ip_of
from node.lab.simulation.sockets.loop import VirtualLoop
from node.net.transport import PeerNetwork
from tests.node.lab.simulation.sockets.machines import PORT, start_on, virtual_loop
from tests.node.net.example_peers import NETWORK, QUICK, RULES, Node, identity_of


def started(loop: VirtualLoop, number: int, *dial: int):
    node, host = Node(identity_of(number + 1)), loop.internet.host(number)
    addresses = tuple((ip_of(other), PORT) for other in dial)
    node.network = PeerNetwork(
        identity=node.identity.peer,
        sign=node.identity.sign,
        network_id=NETWORK,
        rules=RULES,
        settings=replace(QUICK, listen_host=host.ip, listen_port=PORT, dial=addresses),
        events=node,
        random=Random(number),
        clock=loop.time,
        stopwatch=loop.time,
    )
    return node, start_on(loop, host, node.network.run())


def stopping_seconds(after_ms: int) -> float:
    """How long a listener takes to stop when three others began to dial it so long before."""
    ended = []
    with virtual_loop(ConstantLatency(10)) as loop:
        _, listening = started(loop, 0)
        listening.add_done_callback(lambda _: ended.append(loop.time()))
        loop.run_for(0.05)
        for number in (1, 2, 3):
            started(loop, number, 0)
        loop.run_for(after_ms / 1000)
        told_at = loop.time()
        listening.cancel()
        loop.run_for(5)
    return ended[0] - told_at


def test_a_node_stops_within_a_round_trip_at_any_moment() -> None:
    """Connections are accepted at 10 ms, ask at 30 ms, and are peers at 70 ms."""
    slow = {after_ms: seconds for after_ms in range(0, 90, 5) if (seconds := stopping_seconds(after_ms)) > 0.021}
    assert slow == {}


def test_peers_find_each_other_over_simulated_time() -> None:
    with virtual_loop(ConstantLatency(50)) as loop:
        nodes = [started(loop, 0)[0], started(loop, 1, 0)[0], started(loop, 2, 0)[0]]
        loop.run_for(10)
        assert [len(node.connected) for node in nodes] == [2, 2, 2]
        assert [note for node in nodes for note in node.notes] == []


def test_a_silent_connection_is_given_up_by_its_heartbeat() -> None:
    """Half-open: the first hears nobody, and the second notices only by what does not come back."""
    with virtual_loop(ConstantLatency(10)) as loop:
        one, other = started(loop, 0)[0], started(loop, 1, 0)[0]
        loop.run_for(2)
        assert (len(one.connected), len(other.connected)) == (1, 1)
        loop.internet.cut([(0, 1)])
        loop.run_for(QUICK.heartbeat_seconds)
        assert len(other.connected) == 1
        loop.run_for(QUICK.heartbeat_seconds)
        assert len(other.connected) == 0
        loop.internet.heal()
        loop.run_for(5)
        assert (len(one.connected), len(other.connected)) == (1, 1)
