"""Large bytes travel in parts, from whoever has them, and count only when whole and right."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import pytest

from consensus.protocol import FetchPayload, FetchState, Input, PayloadHeld, Record, StateHeld
from consensus.types import Digest, Height, PeerId, StepId
from learning.checkpoint import checkpoint_digest, encode_kept_state
from learning.learner import LearnerRequest, StateKept
from node.net.wire import PART_BYTES_MAX, Part
from node.replica import STATE_TABLE, checkpoint_key
from node.side_streams import FETCHES_PER_SOURCE_MAX, PART_SECONDS_MAX, SideStreams
from node.store import Store

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)
STATE = StateKept(b"g" * 32, 32, bytes(range(256)) * 5_000, 400, b"c" * 32)
PAYLOAD_BYTES_MAX = 10_000
STEP = StepId(b"c" * 32)


@dataclass
class Peers:
    """Peers that answer at once with what they hold, as they are told to."""

    serve: dict[PeerId, Callable[[bytes, int], Part | None]] = field(default_factory=dict)
    streams: SideStreams | None = None
    asked: list[tuple[PeerId, int]] = field(default_factory=list)
    fed: list[object] = field(default_factory=list)
    now: float = 0.0

    def ask_part(self, peer: PeerId, digest: bytes, offset: int) -> None:
        self.asked.append((peer, offset))
        part = self.serve[peer](digest, offset)
        if part is not None and self.streams is not None:
            self.streams.part_received(peer, part)

    def ask(self, request: LearnerRequest) -> None:
        self.fed.append(request)

    def record(self, record: Record) -> None:
        self.fed.append(record)

    def feed(self, event: Input) -> None:
        self.fed.append(event)


def fetching(store: Store, peers: Peers, state_bytes_max: int = 4_000_000) -> SideStreams:
    streams = SideStreams(
        store, peers, state_bytes_max=state_bytes_max, payload_bytes_max=PAYLOAD_BYTES_MAX, clock=lambda: peers.now
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
    assert (peers.fed, len(peers.asked)) == ([], 1)


def test_a_peer_that_is_silent_loses_its_turn(tmp_path: Path) -> None:
    content = b"gradient" * 1_000
    digest = Digest(blake2b(content, digest_size=32).digest())
    peers = Peers({ALICE: lambda digest, offset: None, BOB: holder(content)})

    async def wait(streams: SideStreams) -> None:
        task = asyncio.create_task(streams.run())
        peers.now = PART_SECONDS_MAX + 1
        await asyncio.sleep(0.7)
        task.cancel()

    def use(store: Store) -> None:
        streams = fetching(store, peers)
        streams.fetch_payload(FetchPayload(digest, len(content), ALICE))
        asyncio.run(wait(streams))
        streams.fetch_payload(FetchPayload(digest, len(content), BOB))

    with_store(tmp_path, use)
    assert peers.fed == [Record("payload", digest, content), PayloadHeld(digest)]


def test_who_is_named_while_a_silent_peer_is_asked_has_the_next_turn(tmp_path: Path) -> None:
    """The machine names another peer each second; one that is asked for five is not to be asked again before those."""
    content = b"gradient" * 100
    digest = Digest(blake2b(content, digest_size=32).digest())
    silent = PeerId(b"s" * 32)
    peers = Peers({silent: lambda _digest, _offset: None, ALICE: holder(b""), BOB: holder(content)})

    def use(store: Store) -> None:
        streams = fetching(store, peers)
        for peer in (silent, ALICE, BOB, silent):
            streams.fetch_payload(FetchPayload(digest, len(content), peer))
        assert [peer for peer, _ in peers.asked] == [silent]
        peers.now = PART_SECONDS_MAX + 0.1
        streams.tick()

    with_store(tmp_path, use)
    assert [peer for peer, _ in peers.asked] == [silent, ALICE, BOB]
    assert peers.fed[-1] == PayloadHeld(digest)


def test_a_payload_that_waits_for_a_silent_peer_begins_as_soon_as_another_is_named(tmp_path: Path) -> None:
    content = b"gradient" * 100
    digest = Digest(blake2b(content, digest_size=32).digest())
    silent = PeerId(b"s" * 32)
    peers = Peers({silent: lambda _digest, _offset: None, BOB: holder(content)})

    def use(store: Store) -> None:
        streams = fetching(store, peers)
        for number in range(FETCHES_PER_SOURCE_MAX):
            streams.fetch_payload(FetchPayload(Digest(bytes([number]) * 32), 9, silent))
        streams.fetch_payload(FetchPayload(digest, len(content), silent))
        assert peers.fed == []
        streams.fetch_payload(FetchPayload(digest, len(content), BOB))

    with_store(tmp_path, use)
    assert peers.fed[-1] == PayloadHeld(digest)


def test_a_payload_that_is_held_is_not_fetched_again(tmp_path: Path) -> None:
    content = b"gradient" * 1_000
    digest = Digest(blake2b(content, digest_size=32).digest())
    peers = Peers({ALICE: holder(content)})

    def use(store: Store) -> None:
        asyncio.run(store.write([("payload", digest, content)]))
        fetching(store, peers).fetch_payload(FetchPayload(digest, len(content), ALICE))

    with_store(tmp_path, use)
    assert (peers.fed, peers.asked) == ([PayloadHeld(digest)], [])


def test_a_payload_that_is_longer_than_any_of_this_network_is_not_taken(tmp_path: Path) -> None:
    content = bytes(PAYLOAD_BYTES_MAX + 1)
    digest = Digest(blake2b(content, digest_size=32).digest())
    peers = Peers({ALICE: holder(content)})
    with_store(tmp_path, lambda store: fetching(store, peers).fetch_payload(FetchPayload(digest, len(content), ALICE)))
    assert (peers.fed, len(peers.asked)) == ([], 1)


@pytest.mark.parametrize("named", [1, 1 << 30])
def test_a_payload_is_fetched_whatever_length_a_liar_has_named(tmp_path: Path, named: int) -> None:
    content = b"gradient" * 1_000
    digest = Digest(blake2b(content, digest_size=32).digest())
    peers = Peers({ALICE: holder(content)})
    with_store(tmp_path, lambda store: fetching(store, peers).fetch_payload(FetchPayload(digest, named, ALICE)))
    assert peers.fed == [Record("payload", digest, content), PayloadHeld(digest)]


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
            streams.fetch_payload(FetchPayload(digest, 100, slow))
        streams.fetch_payload(FetchPayload(digests[-1], 100, BOB))

    with_store(tmp_path, use)
    assert peers.fed == [Record("payload", digests[-1], contents[-1]), PayloadHeld(digests[-1])]
    assert len(peers.asked) == FETCHES_PER_SOURCE_MAX + 1


def test_a_newer_state_replaces_one_under_way(tmp_path: Path) -> None:
    old, new = encode_kept_state(STATE), encode_kept_state(replace(STATE, height=64))
    late = PeerId(b"l" * 32)
    peers = Peers({late: lambda digest, offset: None, BOB: holder(new)})

    def use(store: Store) -> None:
        streams = fetching(store, peers)
        streams.fetch_state(FetchState(STEP, Height(400), checkpoint_digest(old), (late,)))
        streams.fetch_state(FetchState(STEP, Height(800), checkpoint_digest(new), (BOB,)))
        streams.part_received(late, Part(checkpoint_digest(old), 0, len(old), old[:PART_BYTES_MAX]))

    with_store(tmp_path, use)
    assert peers.fed == [StateHeld(STEP, new)]


def test_what_nobody_asked_for_is_ignored(tmp_path: Path) -> None:
    peers = Peers()
    with_store(tmp_path, lambda store: fetching(store, peers).part_received(ALICE, Part(b"d" * 32, 0, 3, b"abc")))
    assert peers.fed == []


def test_checkpoints_and_payloads_are_served_by_their_digest(tmp_path: Path) -> None:
    encoded = encode_kept_state(STATE)
    payload = b"gradient"
    digest = blake2b(payload, digest_size=32).digest()

    def use(store: Store) -> None:
        rows = [(STATE_TABLE, checkpoint_key(STATE.checkpoint), encoded), ("payload", digest, payload)]
        asyncio.run(store.write(rows))
        streams = fetching(store, Peers())
        assert streams.large_bytes(checkpoint_digest(encoded), 0, 10) == (len(encoded), encoded[:10])
        assert streams.large_bytes(checkpoint_digest(encoded), len(encoded) - 3, 10) == (len(encoded), encoded[-3:])
        assert streams.large_bytes(digest, 2, 3) == (len(payload), payload[2:5])
        assert streams.large_bytes(b"?" * 32, 0, 10) == (0, b"")

    with_store(tmp_path, use)
