"""What a peer keeps for who asks.

Flooding: every message reaches every peer exactly once, over few full copies, whatever some neighbours hold back.
"""

from collections import Counter, deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.types import PeerId
from node.net.gossip import Gossip, GossipEffect, GossipLimits, MessageCache, MessageSeen, SendAnnouncement, short_digest
from node.net.wire import GossipFrame, Have, Want


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6), st.floats(0, 2))))
def test_a_cache_never_exceeds_its_count_its_bytes_or_its_age(additions: list[tuple[int, int, float]]) -> None:
    cache = MessageCache(count_max=5, bytes_max=20, seconds_max=3.0)
    now = 0.0
    added_at: dict[bytes, float] = {}
    for number, length, pause in additions:
        now += pause
        cache.expire(now)
        digest = bytes([number])
        if cache.get(digest) is None:
            added_at[digest] = now
        cache.add(digest, b"m" * length, now)
        kept = list(cache.newest())
        assert len(cache) == len(kept) <= 5
        assert cache.size == sum(len(cache.get(kept_digest) or b"") for kept_digest in kept) <= 20
        assert all(now - added_at[kept_digest] <= 3.0 for kept_digest in kept)


ANN, BEN, CAT, DAN = (PeerId(name * 32) for name in (b"a", b"b", b"c", b"d"))


class Mesh:
    """Gossip machines joined by ordered links; a machine passes on what it is first to deliver."""

    def __init__(self, edges: set[frozenset[int]], size: int, random: Random) -> None:
        self.random = random
        self.machines = [Gossip() for _ in range(size)]
        self.inboxes: list[Counter[bytes]] = [Counter() for _ in range(size)]
        self.wires: dict[tuple[int, int], deque[GossipFrame | Have | Want]] = {}
        self.copies = 0
        self.now = 0.0
        self.silent: set[int] = set()
        """Peers that announce everything and serve nothing."""
        self.ignored: set[int] = set()
        """Peers that are over everybody's budget."""
        for edge in sorted(edges, key=sorted):
            self.connect(*sorted(edge))

    def connect(self, one: int, other: int) -> None:
        for here, there in ((one, other), (other, one)):
            self.wires[here, there] = deque()
            self.carry_out(here, self.machines[here].on_peer_joined(peer_of(there), self.now))

    def disconnect(self, one: int, other: int) -> None:
        for here, there in ((one, other), (other, one)):
            del self.wires[here, there]
            self.carry_out(here, self.machines[here].on_peer_left(peer_of(there), self.now))

    def broadcast(self, origin: int, message: bytes) -> None:
        self.inboxes[origin][message] += 1
        self.carry_out(origin, self.machines[origin].broadcast(message, self.now))

    def carry_out(self, here: int, effects: tuple[GossipEffect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, MessageSeen) and int.from_bytes(effect.peer, "big") in self.ignored:
                judged = self.machines[here].on_looked_at(effect.peer, effect.message, is_looked_at=False, now=self.now)
                self.carry_out(here, judged)
            elif isinstance(effect, MessageSeen):
                self.inboxes[here][effect.message] += 1
                self.carry_out(here, self.machines[here].broadcast(effect.message, self.now))
                judged = self.machines[here].on_looked_at(effect.peer, effect.message, is_looked_at=True, now=self.now)
                self.carry_out(here, judged)
            else:
                self.tell(here, effect)

    def tell(self, here: int, effect: SendAnnouncement) -> None:
        for peer in effect.peers:
            if not (here in self.silent and isinstance(effect.frame, GossipFrame)):
                self.wires[here, int.from_bytes(peer, "big")].append(effect.frame)
                self.copies += isinstance(effect.frame, GossipFrame)

    def settle(self) -> None:
        """Deliver everything under way, in a random order of links, then let timeouts pass until nothing happens any more."""
        for _ in range(20):
            while ready := [edge for edge, wire in self.wires.items() if wire]:
                here, there = self.random.choice(ready)
                frame = self.wires[here, there].popleft()
                self.carry_out(there, self.machines[there].on_frame(peer_of(here), frame, self.now))
            self.now += 0.6
            for index, machine in enumerate(self.machines):
                self.carry_out(index, machine.tick(self.now))

    def settle_at_equal_speed(self) -> None:
        """Deliver everything under way; all links take equally long."""
        while under_way := [edge for edge, wire in self.wires.items() for _ in wire]:
            for here, there in under_way:
                frame = self.wires[here, there].popleft()
                self.carry_out(there, self.machines[there].on_frame(peer_of(here), frame, self.now))


def peer_of(index: int) -> PeerId:
    return PeerId(index.to_bytes(32, "big"))


def full_mesh(members: range) -> set[frozenset[int]]:
    return {frozenset((one, other)) for one in members for other in members if one < other}


def connected_graph(size: int, random: Random) -> set[frozenset[int]]:
    tree = {frozenset((index, random.randrange(index))) for index in range(1, size)}
    extra = {frozenset(random.sample(range(size), 2)) for _ in range(random.randrange(2 * size))} if size > 1 else set()
    return tree | extra


@settings(max_examples=200, deadline=None)
@given(size=st.integers(2, 12), seed=st.integers(0, 2**32), messages=st.integers(1, 6))
def test_every_peer_of_a_connected_graph_gets_every_message_exactly_once(size: int, seed: int, messages: int) -> None:
    random = Random(seed)
    mesh = Mesh(connected_graph(size, random), size, random)
    sent = {bytes([number]) * 100: 1 for number in range(messages)}
    for message in sent:
        mesh.broadcast(random.randrange(size), message)
    mesh.settle()
    assert mesh.inboxes == [Counter(sent)] * size
    assert sum(machine.pending_wants for machine in mesh.machines) == 0


@settings(max_examples=100, deadline=None)
@given(size=st.integers(3, 10), seed=st.integers(0, 2**32))
def test_neighbours_that_announce_and_never_serve_only_cost_time(size: int, seed: int) -> None:
    """The honest peers 0..size-1 are connected among themselves; three liars are neighbours of all of them."""
    random = Random(seed)
    liars = range(size, size + 3)
    edges = connected_graph(size, random) | {frozenset((honest, liar)) for honest in range(size) for liar in liars}
    mesh = Mesh(edges, size + 3, random)
    mesh.silent = set(liars)
    mesh.broadcast(random.randrange(size), b"message")
    mesh.settle()
    assert mesh.inboxes[:size] == [Counter({b"message": 1})] * size


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_connection_lost_with_frames_under_way_and_made_again_loses_no_message(seed: int) -> None:
    random = Random(seed)
    mesh = Mesh({frozenset((0, 1)), frozenset((1, 2))}, 3, random)
    mesh.broadcast(0, b"message")
    mesh.disconnect(1, random.choice((0, 2)))
    missing = next(edge for edge in ((0, 1), (1, 2)) if edge not in mesh.wires)
    mesh.connect(*missing)
    mesh.settle()
    assert mesh.inboxes == [Counter({b"message": 1})] * 3


def test_in_a_full_mesh_of_four_a_message_crosses_three_of_six_links() -> None:
    mesh = Mesh(full_mesh(range(4)), 4, Random(1))
    mesh.broadcast(2, b"m" * 1_000)
    mesh.settle_at_equal_speed()
    assert mesh.inboxes == [Counter({b"m" * 1_000: 1})] * 4
    assert mesh.copies == 3


def gossip_with(*neighbours: PeerId, limits: GossipLimits | None = None) -> Gossip:
    gossip = Gossip(limits)
    for peer in neighbours:
        assert gossip.on_peer_joined(peer, 0.0) == ()
    return gossip


def test_our_own_message_is_pushed_and_a_received_one_is_announced_to_the_others() -> None:
    gossip = gossip_with(ANN, BEN, CAT)
    assert gossip.broadcast(b"ours", 0.0) == (SendAnnouncement((ANN, BEN, CAT), GossipFrame(b"ours")),)
    assert gossip.on_frame(ANN, GossipFrame(b"theirs"), 0.0) == (MessageSeen(ANN, b"theirs"),)
    assert gossip.broadcast(b"theirs", 0.0) == (SendAnnouncement((BEN, CAT), Have((short_digest(b"theirs"),))),)
    assert gossip.broadcast(b"theirs", 0.0) == ()


def test_nothing_is_served_before_it_was_judged_worth_passing_on() -> None:
    gossip = gossip_with(ANN, BEN)
    gossip.on_frame(ANN, GossipFrame(b"doubtful"), 0.0)
    assert gossip.on_frame(BEN, Want((short_digest(b"doubtful"),)), 0.0) == ()
    gossip.broadcast(b"doubtful", 0.0)
    assert gossip.on_frame(BEN, Want((short_digest(b"doubtful"),)), 0.0) == (
        SendAnnouncement((BEN,), GossipFrame(b"doubtful")),
    )


def test_a_message_is_served_to_one_peer_only_once() -> None:
    gossip = gossip_with(ANN)
    gossip.broadcast(b"pushed", 0.0)
    assert gossip.on_frame(ANN, Want((short_digest(b"pushed"),)), 0.0) == ()


def test_what_was_not_looked_at_may_come_again_from_another() -> None:
    gossip = gossip_with(ANN, BEN, CAT)
    digest = short_digest(b"block")
    assert gossip.on_frame(ANN, GossipFrame(b"block"), 0.0) == (MessageSeen(ANN, b"block"),)
    assert gossip.on_looked_at(ANN, b"block", is_looked_at=False, now=0.0) == ()
    assert gossip.on_frame(BEN, Have((digest,)), 0.0) == (SendAnnouncement((BEN,), Want((digest,))),)
    assert gossip.on_frame(BEN, GossipFrame(b"block"), 0.1) == (MessageSeen(BEN, b"block"),)
    assert gossip.on_looked_at(BEN, b"block", is_looked_at=True, now=0.1) == ()
    assert gossip.pending_wants == 0
    assert gossip.on_frame(CAT, Have((digest,)), 0.2) == ()
    assert gossip.on_frame(CAT, GossipFrame(b"block"), 0.2) == ()


def test_what_was_not_looked_at_is_asked_at_once_of_who_had_announced_it_too() -> None:
    gossip = gossip_with(ANN, BEN, CAT)
    digest = short_digest(b"block")
    for peer in (ANN, BEN):
        gossip.on_frame(peer, Have((digest,)), 0.0)
    gossip.on_frame(ANN, GossipFrame(b"block"), 0.1)
    assert gossip.on_looked_at(ANN, b"block", is_looked_at=False, now=0.1) == (SendAnnouncement((BEN,), Want((digest,))),)
    gossip.on_frame(CAT, GossipFrame(b"block"), 0.2)
    assert gossip.on_looked_at(CAT, b"block", is_looked_at=False, now=0.2) == (), "BEN owes it still"
    assert gossip.on_frame(BEN, GossipFrame(b"block"), 0.3) == (MessageSeen(BEN, b"block"),)


@settings(max_examples=100, deadline=None)
@given(size=st.integers(3, 10), seed=st.integers(0, 2**32))
def test_who_relays_first_and_is_not_listened_to_keeps_nothing_from_anybody(size: int, seed: int) -> None:
    """Three liars are neighbours of all, and push whatever they hear before anybody else can; nobody looks at what they say."""
    random = Random(seed)
    liars = range(size, size + 3)
    edges = connected_graph(size, random) | {frozenset((honest, liar)) for honest in range(size) for liar in liars}
    mesh = Mesh(edges, size + 3, random)
    mesh.ignored = set(liars)
    for liar in liars:
        mesh.carry_out(liar, mesh.machines[liar].broadcast(b"message", 0.0))
    mesh.broadcast(random.randrange(size), b"message")
    mesh.settle()
    assert mesh.inboxes[:size] == [Counter({b"message": 1})] * size


def test_a_want_goes_to_the_next_announcer_after_its_timeout_and_is_dropped_after_the_last() -> None:
    gossip = gossip_with(ANN, BEN)
    digest = short_digest(b"late")
    assert gossip.on_frame(ANN, Have((digest,)), 0.0) == (SendAnnouncement((ANN,), Want((digest,))),)
    assert gossip.on_frame(BEN, Have((digest,)), 0.1) == ()
    assert gossip.tick(0.4) == ()
    assert gossip.tick(0.5) == (SendAnnouncement((BEN,), Want((digest,))),)
    assert gossip.tick(1.0) == ()
    assert gossip.pending_wants == 0
    assert gossip.on_frame(ANN, Have((digest,)), 2.0) == (SendAnnouncement((ANN,), Want((digest,))),)


LIARS = tuple(PeerId(bytes([number]) * 32) for number in range(200, 216))


def seconds_until_delivered(gossip: Gossip, message: bytes, now: float) -> float:
    """Sixteen liars announce it first and give nothing; ANN and BEN announce it then, and give it to who asks them."""
    digest = short_digest(message)
    effects: list[GossipEffect] = []
    for peer in (*LIARS, ANN, BEN):
        effects += gossip.on_frame(peer, Have((digest,)), now)
    for tenths in range(100):
        asked = [
            peer for effect in effects if isinstance(effect, SendAnnouncement) for peer in effect.peers if peer in {ANN, BEN}
        ]
        if asked:
            assert gossip.on_frame(asked[0], GossipFrame(message), now) == (MessageSeen(asked[0], message),)
            gossip.broadcast(message, now)
            return tenths / 10
        now += 0.1
        effects = list(gossip.tick(now))
    return float("inf")


def test_liars_who_announce_first_and_give_nothing_delay_one_message_and_no_other_for_ten_minutes() -> None:
    gossip = gossip_with(*LIARS, ANN, BEN)
    first = seconds_until_delivered(gossip, b"first", 1.0)
    later = [seconds_until_delivered(gossip, b"later %d" % number, 60.0 * number) for number in range(1, 10)]
    assert (first <= len(LIARS) * 0.6, later) == (True, [0.0] * 9)


def test_a_newcomer_is_asked_only_until_somebody_announces_the_same_who_has_brought_something_before() -> None:
    gossip = gossip_with(ANN, BEN, CAT)
    gossip.on_frame(ANN, GossipFrame(b"useful"), 0.0)
    gossip.broadcast(b"useful", 0.0)
    digest = short_digest(b"next")
    assert gossip.on_frame(BEN, Have((digest,)), 1.0) == (SendAnnouncement((BEN,), Want((digest,))),)
    assert gossip.on_frame(ANN, Have((digest,)), 1.0) == (SendAnnouncement((ANN,), Want((digest,))),)
    assert gossip.on_frame(CAT, Have((digest,)), 1.0) == ()
    assert gossip.on_frame(BEN, GossipFrame(b"next"), 1.1) == (MessageSeen(BEN, b"next"),)


def test_what_was_asked_of_a_peer_that_leaves_is_asked_of_the_next_at_once() -> None:
    gossip = gossip_with(ANN, BEN)
    digest = short_digest(b"late")
    gossip.on_frame(ANN, Have((digest,)), 0.0)
    gossip.on_frame(BEN, Have((digest,)), 0.0)
    assert gossip.on_peer_left(ANN, 0.0) == (SendAnnouncement((BEN,), Want((digest,))),)
    assert gossip.on_peer_left(BEN, 0.0) == ()
    assert gossip.pending_wants == 0


def test_a_new_neighbour_is_told_of_recent_messages_newest_first() -> None:
    gossip = gossip_with(ANN)
    gossip.broadcast(b"old", 0.0)
    gossip.broadcast(b"recent", 20.0)
    gossip.broadcast(b"newest", 30.5)
    assert gossip.on_peer_joined(DAN, 31.0) == (
        SendAnnouncement((DAN,), Have((short_digest(b"newest"), short_digest(b"recent")))),
    )


def test_a_flood_of_bogus_announcements_is_bounded_for_each_neighbour() -> None:
    gossip = gossip_with(ANN, BEN, limits=GossipLimits(wants_per_peer=3))
    bogus = tuple(bytes([number]) * 16 for number in range(10))
    assert gossip.on_frame(ANN, Have(bogus), 0.0) == (SendAnnouncement((ANN,), Want(bogus[:3])),)
    assert gossip.on_frame(BEN, Have(bogus[5:7]), 0.0) == (SendAnnouncement((BEN,), Want(bogus[5:7])),)
    assert gossip.pending_wants == 5
    gossip.tick(1.0)
    assert gossip.on_frame(ANN, Have(bogus[7:]), 1.0) == (SendAnnouncement((ANN,), Want(bogus[7:])),)


@pytest.mark.slow
@given(st.data())
def test_the_allowance_of_each_neighbour_is_given_back_whatever_happens(data: st.DataObject) -> None:
    """However neighbours announce, answer, leave and return: in the end each may again have its full share of wants."""
    limits = GossipLimits(wants_per_peer=4)
    gossip = Gossip(limits)
    present: set[PeerId] = set()
    messages = [bytes([number]) for number in range(12)]
    for now in range(data.draw(st.integers(0, 40))):
        peer = data.draw(st.sampled_from((ANN, BEN, CAT)))
        if peer not in present:
            gossip.on_peer_joined(peer, now)
            present.add(peer)
            continue
        action = data.draw(st.sampled_from(("leave", "have", "message", "tick")))
        chosen = data.draw(st.sampled_from(messages))
        if action == "leave":
            gossip.on_peer_left(peer, now)
            present.remove(peer)
        elif action == "have":
            gossip.on_frame(peer, Have((short_digest(chosen),)), now)
        elif action == "message":
            gossip.on_frame(peer, GossipFrame(chosen), now)
        else:
            gossip.tick(now)
        assert gossip.pending_wants <= 4 * 3
    for late in range(100, 120):
        gossip.tick(late)
    assert gossip.pending_wants == 0
    fresh = tuple(short_digest(bytes([number])) for number in range(100, 110))
    for peer in sorted(present):
        assert gossip.on_frame(peer, Have(fresh), 200.0) == (SendAnnouncement((peer,), Want(fresh[:4])),)
        for digest in range(100, 104):
            gossip.on_frame(peer, GossipFrame(bytes([digest])), 200.0)
        break


def test_our_own_message_above_the_limit_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="limit 262144"):
        Gossip().broadcast(bytes(262_145), 0.0)
