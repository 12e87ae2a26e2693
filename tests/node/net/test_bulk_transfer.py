"""Large bytes travel in parts, from whoever has them, and count only when whole and right."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import pytest

from consensus.effects import FetchAttachment, FetchState, Record
from consensus.payload_requests import FETCHES_MAX
from consensus.protocol import AttachmentHeld, FetchFailed, Input, StateHeld
from consensus.types import Digest, Height, PeerId, StepId
from learning.learner import LearnerRequest, StateKept
from learning.state import checkpoint_digest, encode_kept_state
from node.net.bulk_transfer import RATE_SECONDS, SOURCE_SHARE, STATE_ROUNDS_MAX, TICK_SECONDS, BulkTransfer
from node.net.parts import PART_SECONDS_MAX
from node.net.wire import PART_BYTES_MAX, Part
from node.storage.store import Store

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)
STATE = StateKept(b"g" * 32, 32, bytes(range(256)) * 5_000, 400, b"c" * 32)
PAYLOAD_BYTES_MAX = 10_000
STEP = StepId(b"c" * 32)


@dataclass
class Peers:
    """Peers that answer at once with what they hold, as they are told to."""

    serve: dict[PeerId, Callable[[bytes, int], Part | None]] = field(default_factory=dict)
    streams: BulkTransfer | None = None
    asked: list[tuple[PeerId, int]] = field(default_factory=list)
    fed: list[object] = field(default_factory=list)
    now: float = 0.0

    def ask_part(self, peer: PeerId, digest: bytes, offset: int) -> None:
        self.asked.append((peer, offset))
        part = self.serve[peer](digest, offset)
        if part is not None and self.streams is not None:
            self.streams.on_part(peer, part)

    def ask(self, request: LearnerRequest) -> None:
        self.fed.append(request)

    def record(self, record: Record) -> None:
        self.fed.append(record)

    def feed(self, event: Input) -> None:
        self.fed.append(event)


def fetching(store: Store, peers: Peers, state_bytes_max: int = 4_000_000) -> BulkTransfer:
    streams = BulkTransfer(
        store,
        peers,
        state_bytes_max=state_bytes_max,
        payload_bytes_max=PAYLOAD_BYTES_MAX,
        clock=lambda: peers.now,
    )
    streams.driver = peers  # type: ignore[assignment]
    peers.streams = streams
    return streams


def holder(content: bytes) -> Callable[[bytes, int], Part]:
    return lambda digest, offset: Part(digest, offset, len(content), content[offset : offset + PART_BYTES_MAX])


def with_store(folder: Path, use: Callable[[Store], None]) -> None:
    store = Store.open(folder / "kubrat.db")
    try:
        use(store)
    finally:
        store.close()


def test_a_state_comes_in_parts_and_is_handed_over_in_the_right_order(tmp_path: Path) -> None:
    encoded = encode_kept_state(STATE)
    peers = Peers({ALICE: holder(encoded)})

    def use(store: Store) -> None:
        fetching(store, peers).fetch_state(FetchState(STEP, Height(400), checkpoint_digest(encoded), (ALICE,)))

    with_store(tmp_path, use)
    assert peers.asked == [(ALICE, offset) for offset in range(0, len(encoded), PART_BYTES_MAX)]
    assert peers.fed == [StateHeld(STEP, encoded)]


def test_wrong_bytes_and_empty_answers_lead_to_the_next_peer(tmp_path: Path) -> None:
    encoded = encode_kept_state(STATE)
    liar, empty = PeerId(b"l" * 32), PeerId(b"e" * 32)
    peers = Peers(
        {
            liar: holder(encoded[:-1] + b"?"),
            empty: lambda digest, offset: Part(digest, offset, 0, b""),
            BOB: holder(encoded),
        }
    )

    def use(store: Store) -> None:
        fetching(store, peers).fetch_state(FetchState(STEP, Height(400), checkpoint_digest(encoded), (liar, empty, BOB)))

    with_store(tmp_path, use)
    assert peers.fed == [StateHeld(STEP, encoded)]
    assert [peer for peer, offset in peers.asked if offset == 0] == [liar, empty, BOB]


def test_more_than_the_model_can_be_is_not_taken(tmp_path: Path) -> None:
    encoded = encode_kept_state(STATE)
    peers = Peers({ALICE: holder(encoded)})

    def use(store: Store) -> None:
        streams = fetching(store, peers, state_bytes_max=len(encoded) - 1)
        streams.fetch_state(FetchState(STEP, Height(400), checkpoint_digest(encoded), (ALICE,)))

    with_store(tmp_path, use)
    assert peers.fed == [FetchFailed(checkpoint_digest(encoded), ALICE)]
    assert len(peers.asked) == STATE_ROUNDS_MAX


def test_who_is_silent_about_a_small_payload_is_left_after_a_second_and_each_next_one_has_twice_as_long(
    tmp_path: Path,
) -> None:
    digest = Digest(blake2b(b"small", digest_size=32).digest())
    peers = Peers({ALICE: lambda digest, offset: None, BOB: lambda digest, offset: None})
    left_after: list[float] = []

    def use(store: Store) -> None:
        streams = fetching(store, peers)
        for attempt in range(5):
            begun = peers.now
            streams.fetch_payload(FetchAttachment(digest, 5, (ALICE, BOB)[attempt % 2]))
            while len(peers.fed) == attempt:
                peers.now += 0.125
                streams.tick()
            left_after.append(peers.now - begun)

    with_store(tmp_path, use)
    assert left_after == [1.125, 2.125, 4.125, 5.125, 5.125]


def test_a_peer_that_is_silent_loses_its_turn(tmp_path: Path) -> None:
    content = b"gradient" * 1_000
    digest = Digest(blake2b(content, digest_size=32).digest())
    peers = Peers({ALICE: lambda digest, offset: None, BOB: holder(content)})

    async def wait(streams: BulkTransfer) -> None:
        task = asyncio.create_task(streams.run())
        peers.now = PART_SECONDS_MAX + 1
        await asyncio.sleep(0.7)
        task.cancel()

    def use(store: Store) -> None:
        streams = fetching(store, peers)
        streams.fetch_payload(FetchAttachment(digest, len(content), ALICE))
        asyncio.run(wait(streams))
        assert peers.fed == [FetchFailed(digest, ALICE)]
        streams.fetch_payload(FetchAttachment(digest, len(content), BOB))

    with_store(tmp_path, use)
    assert peers.fed[1:] == [Record("payload", digest, content), AttachmentHeld(digest)]


def test_a_payload_that_waits_for_a_silent_peer_begins_as_soon_as_another_is_named(tmp_path: Path) -> None:
    content = b"gradient" * 100
    digest = Digest(blake2b(content, digest_size=32).digest())
    silent = PeerId(b"s" * 32)
    peers = Peers({silent: lambda _digest, _offset: None, BOB: holder(content)})

    def use(store: Store) -> None:
        streams = fetching(store, peers)
        for number in range(FETCHES_MAX // SOURCE_SHARE):
            streams.fetch_payload(FetchAttachment(Digest(bytes([number]) * 32), 9, silent))
        streams.fetch_payload(FetchAttachment(digest, len(content), silent))
        assert peers.fed == []
        streams.fetch_payload(FetchAttachment(digest, len(content), BOB))

    with_store(tmp_path, use)
    assert peers.fed[-1] == AttachmentHeld(digest)


def test_a_peer_that_has_nothing_is_told_of_at_once(tmp_path: Path) -> None:
    digest = Digest(b"d" * 32)
    peers = Peers({ALICE: holder(b"")})
    with_store(tmp_path, lambda store: fetching(store, peers).fetch_payload(FetchAttachment(digest, 9, ALICE)))
    assert (peers.fed, len(peers.asked)) == ([FetchFailed(digest, ALICE)], 1)


def slow(content: bytes, peers: Peers, seconds: float) -> Callable[[bytes, int], Part]:
    """A peer that gives whole parts, each after so long."""
    hand_out = holder(content)

    def give(digest: bytes, offset: int) -> Part:
        peers.now += seconds
        assert peers.streams is not None
        peers.streams.tick()
        return hand_out(digest, offset)

    return give


def test_a_source_that_gives_each_part_at_the_last_moment_costs_its_own_time_alone_and_its_parts_stay(tmp_path: Path) -> None:
    large = encode_kept_state(replace(STATE, parameters=bytes(20 * PART_BYTES_MAX)))
    peers = Peers({BOB: holder(large)})
    peers.serve[ALICE] = slow(large, peers, 0.98 * PART_SECONDS_MAX)

    def use(store: Store) -> None:
        streams = fetching(store, peers, state_bytes_max=2 * len(large))
        streams.fetch_state(FetchState(STEP, Height(400), checkpoint_digest(large), (ALICE, BOB)))

    with_store(tmp_path, use)
    assert peers.fed == [StateHeld(STEP, large)]
    assert peers.now <= RATE_SECONDS + PART_SECONDS_MAX
    offsets = [offset for _, offset in peers.asked]
    assert sorted(offsets) == offsets, "nothing is fetched twice"


def test_a_source_that_holds_a_state_back_keeps_us_from_the_next_one_for_a_second_or_two(tmp_path: Path) -> None:
    """Members keep the newest few alone: what one of them drags out is soon gone at all the others."""
    large = encode_kept_state(replace(STATE, parameters=bytes(6 * PART_BYTES_MAX)))
    peers = Peers({ALICE: lambda digest, offset: None, BOB: holder(large)})

    def use(store: Store) -> None:
        streams = fetching(store, peers, state_bytes_max=2 * len(large))
        streams.fetch_state(FetchState(STEP, Height(400), checkpoint_digest(large), (ALICE, BOB)))
        while not peers.fed:
            peers.now += TICK_SECONDS
            streams.tick()

    with_store(tmp_path, use)
    assert peers.fed == [StateHeld(STEP, large)]
    assert peers.now <= 2.0


def test_a_state_that_everybody_gives_slowly_comes_all_the_same(tmp_path: Path) -> None:
    large = encode_kept_state(replace(STATE, parameters=bytes(6 * PART_BYTES_MAX)))
    peers = Peers()
    peers.serve = dict.fromkeys((ALICE, BOB), holder(large))
    waiting: list[tuple[float, PeerId, Part]] = []

    def ask_part(peer: PeerId, digest: bytes, offset: int) -> None:
        waiting.append((peers.now + 3.0, peer, holder(large)(digest, offset)))

    peers.ask_part = ask_part  # type: ignore[method-assign]

    def use(store: Store) -> None:
        streams = fetching(store, peers, state_bytes_max=2 * len(large))
        streams.fetch_state(FetchState(STEP, Height(400), checkpoint_digest(large), (ALICE, BOB)))
        while not peers.fed:
            peers.now += TICK_SECONDS
            for due in [one for one in waiting if one[0] <= peers.now]:
                waiting.remove(due)
                streams.on_part(due[1], due[2])
            streams.tick()

    with_store(tmp_path, use)
    assert peers.fed == [StateHeld(STEP, large)]


def payload_from(tmp_path: Path, peers: Peers, content: bytes, sources: tuple[PeerId, ...]) -> Digest:
    """Each source is named as soon as the one before has failed, as the ordering machine does it."""
    digest = Digest(blake2b(content, digest_size=32).digest())

    def use(store: Store) -> None:
        streams = BulkTransfer(
            store,
            peers,
            state_bytes_max=1,
            payload_bytes_max=1 << 22,
            clock=lambda: peers.now,
        )
        streams.driver = peers  # type: ignore[assignment]
        peers.streams = streams
        for source in sources:
            if AttachmentHeld(digest) not in peers.fed:
                streams.fetch_payload(FetchAttachment(digest, len(content), source))
                peers.now += PART_SECONDS_MAX + 1
                streams.tick()

    with_store(tmp_path, use)
    return digest


def first_part_only(content: bytes) -> Callable[[bytes, int], Part | None]:
    hand_out = holder(content)
    return lambda digest, offset: hand_out(digest, offset) if offset == 0 else None


def test_parts_are_kept_over_sources(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4_096
    peers = Peers({ALICE: first_part_only(content), BOB: holder(content)})
    digest = payload_from(tmp_path, peers, content, (ALICE, BOB))
    assert peers.fed == [FetchFailed(digest, ALICE), Record("payload", digest, content), AttachmentHeld(digest)]
    assert peers.asked == [(ALICE, 0), (ALICE, PART_BYTES_MAX), (BOB, PART_BYTES_MAX)]


def test_when_several_gave_a_wrong_whole_all_of_it_comes_from_one_until_the_liar_is_known(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4_096
    liar = PeerId(b"l" * 32)
    peers = Peers({liar: first_part_only(b"?" * len(content)), BOB: holder(content)})
    digest = payload_from(tmp_path, peers, content, (liar, BOB, liar, BOB))
    assert peers.fed[-1] == AttachmentHeld(digest)
    assert peers.asked[-2:] == [(BOB, 0), (BOB, PART_BYTES_MAX)]
    peers = Peers({liar: holder(b"?" * len(content)), BOB: holder(content)})
    digest = payload_from(tmp_path, peers, content, (liar, liar, BOB))
    assert peers.fed[:2] == [FetchFailed(digest, liar)] * 2
    assert [peer for peer, offset in peers.asked if offset == 0] == [liar, BOB], "a known liar is not asked again"


@pytest.mark.parametrize("lie", [b"?" * 2**20, b"?" * (2**20 + 1)], ids=["the same length", "another length"])
def test_whoever_goes_on_with_the_parts_of_a_liar_does_not_fail_for_it(tmp_path: Path, lie: bytes) -> None:
    """Who fails is believed less; so a liar could have honest peers asked last by beginning what it never ends."""
    content = bytes(range(256)) * 4_096
    liar = PeerId(b"l" * 32)
    peers = Peers({liar: first_part_only(lie), BOB: holder(content)})
    digest = payload_from(tmp_path, peers, content, (liar, BOB))
    assert peers.fed == [FetchFailed(digest, liar), Record("payload", digest, content), AttachmentHeld(digest)]


def test_a_source_that_names_another_length_is_left_and_two_of_them_are_believed(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4_096
    liar, third = PeerId(b"l" * 32), PeerId(b"t" * 32)
    peers = Peers({liar: first_part_only(content + bytes(PART_BYTES_MAX)), BOB: holder(content), third: holder(content)})
    digest = payload_from(tmp_path, peers, content, (liar, BOB, third, BOB))
    assert peers.fed[-1] == AttachmentHeld(digest)


def test_whole_things_are_hashed_where_it_keeps_nobody_waiting(tmp_path: Path) -> None:
    encoded = encode_kept_state(STATE)
    peers = Peers({ALICE: holder(encoded)})
    works: list[tuple[Callable[[], bool], Callable[[bool], None]]] = []

    def use(store: Store) -> None:
        streams = BulkTransfer(
            store,
            peers,
            state_bytes_max=4_000_000,
            payload_bytes_max=PAYLOAD_BYTES_MAX,
            clock=lambda: peers.now,
            off_loop=lambda work, done: works.append((work, done)),
        )
        streams.driver = peers  # type: ignore[assignment]
        peers.streams = streams
        streams.fetch_state(FetchState(STEP, Height(400), checkpoint_digest(encoded), (ALICE,)))
        peers.now += 100
        streams.tick()
        assert (peers.fed, len(works)) == ([], 1)
        work, done = works[0]
        done(work())

    with_store(tmp_path, use)
    assert peers.fed == [StateHeld(STEP, encoded)]


def test_who_is_named_while_a_wrong_whole_is_hashed_is_asked_next(tmp_path: Path) -> None:
    """The machine waits for an answer about the newest source, and about no other."""
    content = bytes(range(256)) * 1_024
    liar = PeerId(b"l" * 32)
    peers = Peers({liar: holder(b"?" * len(content)), BOB: holder(content)})
    works: list[tuple[Callable[[], bool], Callable[[bool], None]]] = []
    digest = Digest(blake2b(content, digest_size=32).digest())

    def use(store: Store) -> None:
        streams = BulkTransfer(
            store,
            peers,
            state_bytes_max=4_000_000,
            payload_bytes_max=len(content),
            clock=lambda: peers.now,
            off_loop=lambda work, done: works.append((work, done)),
        )
        streams.driver = peers  # type: ignore[assignment]
        peers.streams = streams
        for source in (liar, BOB):
            streams.fetch_payload(FetchAttachment(digest, len(content), source))
        for _ in range(2):
            work, done = works.pop()
            done(work())

    with_store(tmp_path, use)
    assert peers.fed == [Record("payload", digest, content), AttachmentHeld(digest)]
    assert [peer for peer, _ in peers.asked] == [liar, BOB]


def test_a_payload_that_is_held_is_not_fetched_again(tmp_path: Path) -> None:
    content = b"gradient" * 1_000
    digest = Digest(blake2b(content, digest_size=32).digest())
    peers = Peers({ALICE: holder(content)})

    def use(store: Store) -> None:
        asyncio.run(store.write([("payload", digest, content)]))
        fetching(store, peers).fetch_payload(FetchAttachment(digest, len(content), ALICE))

    with_store(tmp_path, use)
    assert (peers.fed, peers.asked) == ([AttachmentHeld(digest)], [])


def test_a_payload_that_is_longer_than_any_of_this_network_is_not_taken(tmp_path: Path) -> None:
    content = bytes(PAYLOAD_BYTES_MAX + 1)
    digest = Digest(blake2b(content, digest_size=32).digest())
    peers = Peers({ALICE: holder(content)})
    with_store(tmp_path, lambda store: fetching(store, peers).fetch_payload(FetchAttachment(digest, len(content), ALICE)))
    assert (peers.fed, len(peers.asked)) == ([FetchFailed(digest, ALICE)], 1)


@pytest.mark.parametrize("named", [1, 1 << 30])
def test_a_payload_is_fetched_whatever_length_a_liar_has_named(tmp_path: Path, named: int) -> None:
    content = b"gradient" * 1_000
    digest = Digest(blake2b(content, digest_size=32).digest())
    peers = Peers({ALICE: holder(content)})
    with_store(tmp_path, lambda store: fetching(store, peers).fetch_payload(FetchAttachment(digest, named, ALICE)))
    assert peers.fed == [Record("payload", digest, content), AttachmentHeld(digest)]


def test_who_drips_loses_its_turn_at_once(tmp_path: Path) -> None:
    encoded = encode_kept_state(STATE)
    dripping = PeerId(b"d" * 32)
    peers = Peers(
        {
            dripping: lambda digest, offset: Part(digest, offset, len(encoded), encoded[offset : offset + 1]),
            BOB: holder(encoded),
        }
    )

    def use(store: Store) -> None:
        fetching(store, peers).fetch_state(FetchState(STEP, Height(400), checkpoint_digest(encoded), (dripping, BOB)))

    with_store(tmp_path, use)
    assert peers.fed == [StateHeld(STEP, encoded)]
    assert [peer for peer, _ in peers.asked].count(dripping) == 1


def test_a_slow_source_does_not_hold_all_places(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100 for number in range(40)]
    digests = [Digest(blake2b(content, digest_size=32).digest()) for content in contents]
    slow = PeerId(b"s" * 32)
    peers = Peers({slow: lambda digest, offset: None, BOB: holder(contents[-1])})

    def use(store: Store) -> None:
        streams = fetching(store, peers)
        for digest in digests[:-1]:
            streams.fetch_payload(FetchAttachment(digest, 100, slow))
        streams.fetch_payload(FetchAttachment(digests[-1], 100, BOB))

    with_store(tmp_path, use)
    assert peers.fed == [Record("payload", digests[-1], contents[-1]), AttachmentHeld(digests[-1])]
    assert len(peers.asked) == FETCHES_MAX // SOURCE_SHARE + 1


def test_a_newer_state_replaces_one_under_way(tmp_path: Path) -> None:
    old, new = encode_kept_state(STATE), encode_kept_state(replace(STATE, height=64))
    late = PeerId(b"l" * 32)
    peers = Peers({late: lambda digest, offset: None, BOB: holder(new)})

    def use(store: Store) -> None:
        streams = fetching(store, peers)
        streams.fetch_state(FetchState(STEP, Height(400), checkpoint_digest(old), (late,)))
        streams.fetch_state(FetchState(STEP, Height(800), checkpoint_digest(new), (BOB,)))
        streams.on_part(late, Part(checkpoint_digest(old), 0, len(old), old[:PART_BYTES_MAX]))

    with_store(tmp_path, use)
    assert peers.fed == [StateHeld(STEP, new)]


def test_what_nobody_asked_for_is_ignored(tmp_path: Path) -> None:
    peers = Peers()
    with_store(tmp_path, lambda store: fetching(store, peers).on_part(ALICE, Part(b"d" * 32, 0, 3, b"abc")))
    assert peers.fed == []
