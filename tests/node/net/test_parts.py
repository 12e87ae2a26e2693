"""What is served costs who asks for it, and an unknown digest costs next to nothing."""

from hashlib import blake2b

from consensus.types import PeerId
from learning.learner import StateKept
from learning.state import checkpoint_digest, encode_kept_state
from node.net.parts import BURST_SECONDS, OUTSIDERS_BYTES_PER_SECOND, PEER_BYTES_PER_SECOND, PartServer
from node.rules.retention import CHECKPOINTS_KEPT
from node.storage.tables import CHECKPOINT_DIGEST_TABLE, PAYLOAD_TABLE, STATE_TABLE, checkpoint_key

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)
STATE = StateKept(b"g" * 32, 32, bytes(range(256)) * 5_000, 400, b"c" * 32)
MEBIBYTE = 2**20


class Rows:
    """A store that counts the bytes that are read."""

    def __init__(self, rows: dict[tuple[str, bytes], bytes]) -> None:
        self.rows = rows
        self.bytes_read = 0

    def get(self, table: str, key: bytes) -> bytes | None:
        value = self.rows.get((table, key))
        self.bytes_read += 0 if value is None else len(value)
        return value

    def has(self, table: str, key: bytes) -> bool:
        return (table, key) in self.rows


def stored(payloads: int, size: int) -> tuple[Rows, list[bytes]]:
    contents = [bytes([number]) * size for number in range(payloads)]
    digests = [blake2b(content, digest_size=32).digest() for content in contents]
    return Rows({(PAYLOAD_TABLE, digest): content for digest, content in zip(digests, contents, strict=True)}), digests


def with_checkpoints() -> Rows:
    rows: dict[tuple[str, bytes], bytes] = {}
    for number in range(1, CHECKPOINTS_KEPT + 1):
        encoded = encode_kept_state(StateKept(b"g" * 32, number, bytes(MEBIBYTE), number, b"c" * 32))
        rows[STATE_TABLE, checkpoint_key(number)] = encoded
        rows[CHECKPOINT_DIGEST_TABLE, checkpoint_key(number)] = checkpoint_digest(encoded)
    return Rows(rows)


def test_checkpoints_and_payloads_are_served_by_their_digest() -> None:
    encoded, payload = encode_kept_state(STATE), b"gradient"
    digest = blake2b(payload, digest_size=32).digest()
    rows = Rows(
        {
            (STATE_TABLE, checkpoint_key(1)): encoded,
            (CHECKPOINT_DIGEST_TABLE, checkpoint_key(1)): checkpoint_digest(encoded),
            (PAYLOAD_TABLE, digest): payload,
        }
    )
    server = PartServer(rows, frozenset(), lambda: 0.0)
    assert server.part(ALICE, checkpoint_digest(encoded), 0, 10) == (len(encoded), encoded[:10])
    assert server.part(ALICE, checkpoint_digest(encoded), len(encoded) - 3, 10) == (len(encoded), encoded[-3:])
    assert server.part(ALICE, digest, 2, 3) == (len(payload), payload[2:5])
    assert server.part(ALICE, b"?" * 32, 0, 10) == (0, b"")


def test_a_question_for_an_unknown_digest_reads_no_state() -> None:
    rows = with_checkpoints()
    server = PartServer(rows, frozenset(), lambda: 0.0)
    for number in range(100):
        assert server.part(ALICE, bytes([number]) * 32, 0, 10) == (0, b"")
    assert rows.bytes_read <= 100 * CHECKPOINTS_KEPT * 32


def test_what_is_read_for_a_peer_is_charged_to_it_and_to_nobody_else() -> None:
    now = 0.0
    rows, digests = stored(20, 8 * MEBIBYTE)
    server = PartServer(rows, frozenset((ALICE, BOB)), lambda: now)
    for number in range(200):
        server.part(ALICE, digests[number % len(digests)], 0, 1)
    assert rows.bytes_read <= PEER_BYTES_PER_SECOND * BURST_SECONDS + 2 * 8 * MEBIBYTE
    assert server.part(ALICE, digests[0], 0, 1) == (0, b"")
    assert server.part(BOB, digests[0], 0, 1) == (8 * MEBIBYTE, b"\0")
    now = 60.0
    assert server.part(ALICE, digests[0], 0, 1) == (8 * MEBIBYTE, b"\0")


def test_outsiders_share_one_allowance_that_members_do_not_pay_into() -> None:
    rows, digests = stored(20, 8 * MEBIBYTE)
    server = PartServer(rows, frozenset((ALICE,)), lambda: 0.0)
    for number in range(200):
        server.part(PeerId(bytes([number]) * 32), digests[number % len(digests)], 0, 1)
    assert rows.bytes_read <= OUTSIDERS_BYTES_PER_SECOND * BURST_SECONDS + 2 * 8 * MEBIBYTE
    assert server.part(BOB, digests[0], 0, 1) == (0, b"")
    assert server.part(ALICE, digests[0], 0, 1) == (8 * MEBIBYTE, b"\0")
