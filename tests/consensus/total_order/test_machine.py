"""One machine and what outsiders send it: every bad input has one exact outcome."""

import itertools
from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest

from consensus.effects import (
    Accusation,
    Accuse,
    Broadcast,
    Deliver,
    Effect,
    FetchAttachment,
    Guard,
    Halt,
    Offence,
    PassOver,
    Record,
    Refuse,
    Send,
)
from consensus.encoding import CorruptRecordsError, encode
from consensus.protocol import AttachmentHeld, FetchFailed, PeerJoined, PeerLeft, Received, Submitted, TimerFired
from consensus.steps import Attachment, genesis_step
from consensus.total_order.block import BLOCK_BYTES_MAX, BlockContribution, Reference, accuse, block_digest, proves_equivocation
from consensus.total_order.linearizer import CommitRecord
from consensus.total_order.machine import PACE_TIMER, TotalOrder
from consensus.total_order.messages import (
    MESSAGE_BYTES_MAX,
    AskOwn,
    BlockMessage,
    Blocks,
    Commits,
    GetBlocks,
    GetCommits,
    Message,
    OwnBlocks,
    OwnNewest,
    Subscribe,
)
from consensus.total_order.peers import BLOCKS_BURST
from consensus.total_order.records import VERTEX_TABLE
from consensus.total_order.relay import UNITS_PER_TICK
from consensus.total_order.state_sync import SNAPSHOT_BEHIND
from consensus.types import Digest, Instant, NetworkId, PeerId, StepId
from tests.consensus.total_order.forge import NETWORK, START_MS, Forge, Forged, attachment, item, own_first, people, person
from tests.consensus.total_order.network import RULES, Disk, read

FORGE = Forge(4)
FIRST = [FORGE.first(author) for author in range(4)]
NOW = Instant(START_MS)
MEMBERS = people(4)
OBSERVER = person("observer")


class One:
    """Member 0, with members 1 to 3 and an observer connected, ready to sign."""

    def __init__(
        self,
        *,
        disk: Disk | None = None,
        guard: int = 0,
        answers: bool = True,
        who: PeerId = MEMBERS[0].id,
        seed: bytes = b"one",
        snapshot_behind: int = SNAPSHOT_BEHIND,
    ) -> None:
        self.disk = disk or Disk()
        self.machine = TotalOrder(
            rules=RULES,
            network_id=NETWORK,
            members=tuple(member.id for member in MEMBERS),
            identity=who,
            sign=MEMBERS[0].sign,
            seed=seed,
            snapshot_behind=snapshot_behind,
            records=self.disk.rows(),
            archive=self.disk,
            guard_round=guard,
        )
        self.effects: list[Effect] = []
        self.do(self.machine.start(NOW))
        for peer in (*[member.id for member in MEMBERS[1:]], OBSERVER.id):
            self.do(self.machine.handle(PeerJoined(peer), NOW))
        if answers:
            for member in MEMBERS[1:]:
                self.say(member.id, OwnNewest(NOW, None))

    def do(self, effects: Iterable[Effect]) -> list[Effect]:
        made = list(effects)
        for effect in made:
            if isinstance(effect, Record):
                self.disk.write(effect.table, effect.key, effect.value)
        self.effects += made
        return made

    def say(self, peer: PeerId, message: Message | bytes, now: int = NOW) -> list[Effect]:
        data = message if isinstance(message, bytes) else encode(message)
        return self.do(self.machine.handle(Received(peer, data), Instant(now)))

    def show(self, *blocks: Forged, by: int | None = None) -> list[Effect]:
        made = []
        for block in blocks:
            author = block.block.content.author if by is None else by
            made += self.say(MEMBERS[author].id, BlockMessage(block.block))
        return made


def own_blocks(effects: Iterable[Effect]) -> list[Forged]:
    made = []
    for effect in effects:
        if isinstance(effect, Broadcast):
            message = read(effect.message)
            assert isinstance(message, BlockMessage)
            made.append(Forged(block_digest(NETWORK, message.block.content), message.block))
    return made


def faults(effects: Iterable[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, Refuse | Accuse | Halt)]


def test_a_member_records_and_guards_its_block_before_it_leaves() -> None:
    one = One(answers=False)
    assert not [effect for effect in one.effects if isinstance(effect, Record | Guard | Broadcast)]
    assert one.say(MEMBERS[1].id, OwnNewest(NOW, None)) == []
    effects = one.say(MEMBERS[2].id, OwnNewest(NOW, None))
    kinds = [type(effect) for effect in effects]
    assert kinds[:3] == [Record, Guard, Broadcast]
    assert effects[1] == Guard(1)


def test_filled_rounds_are_one_batch_of_records_and_one_guard() -> None:
    one = One(answers=False)
    rounds: list[list[Forged]] = [FIRST[1:]]
    for _ in range(4):
        rounds.append([FORGE.on(author, rounds[-1]) for author in (1, 2, 3)])
    one.show(*itertools.chain(*rounds))
    one.say(MEMBERS[1].id, OwnNewest(NOW, None))
    effects = one.say(MEMBERS[2].id, OwnNewest(NOW, None))
    kinds = [type(effect) for effect in effects if isinstance(effect, Record | Guard | Broadcast)]
    last = kinds.index(Guard)
    assert set(kinds[:last]) == {Record}
    assert kinds[last + 1 :] == [Broadcast] * 5
    assert effects[last] == Guard(5)
    assert [block.block.content.round for block in own_blocks(effects)] == [1, 2, 3, 4, 5]
    assert one.machine.status.counters.rounds_filled == 5


def test_the_first_block_names_all_genesis_blocks_and_the_next_what_is_new() -> None:
    one = One()
    (first,) = own_blocks(one.effects)
    assert first.block.content.parents == FORGE.genesis
    effects = one.show(*FIRST[1:])
    effects += one.do(one.machine.handle(TimerFired(PACE_TIMER), Instant(NOW + 1_000)))
    (second,) = own_blocks(effects)
    assert [parent.author for parent in second.block.content.parents] == [0, 1, 2, 3]
    assert second.block.content.round == 2


def test_payloads_travel_with_the_next_block_and_are_delivered_with_their_author() -> None:
    one = One()
    one.show(*FIRST[1:])
    one.do(one.machine.handle(Submitted(genesis_step(NETWORK), b"mine"), Instant(NOW + 5)))
    (_, second) = own_blocks(one.effects)
    assert second.block.content.items == (BlockContribution(genesis_step(NETWORK), b"mine"),)


# --- bad input ------------------------------------------------------------------------------------------------------

BAD_BLOCKS = [
    (FORGE.block(1, 1, FORGE.genesis), Offence.WRONG_PARENTS, "parents[0] is by member 0, allowed: 1"),
    (
        FORGE.block(1, 1, own_first(1, (*FORGE.genesis, FORGE.genesis[2]))),
        Offence.DUPLICATE_PARENT,
        "two parents by member 2, allowed: 1",
    ),
    (
        FORGE.block(1, 1, own_first(1, FORGE.genesis[:2])),
        Offence.TOO_FEW_PARENTS,
        "2 parents of round 0, allowed: 3 or more",
    ),
]


@pytest.mark.parametrize(("bad", "offence", "detail"), BAD_BLOCKS)
@pytest.mark.parametrize("sender", [1, 2])
def test_a_signed_block_that_breaks_a_rule_accuses_its_author_and_refuses_its_sender(
    bad: Forged, offence: Offence, detail: str, sender: int
) -> None:
    one = One()
    effects = one.show(bad, by=sender)
    accusation = Accusation(MEMBERS[1].id, offence, detail, encode(bad.block))
    assert faults(effects) == [Accuse(accusation), Refuse(MEMBERS[sender].id, offence, detail)]
    assert one.show(FIRST[3], by=sender) == [PassOver()], "what a refused peer has sent before counts no more"


def test_a_block_that_its_author_did_not_sign_refuses_its_sender_alone() -> None:
    one = One()
    forged = Forged(FIRST[1].digest, msgspec.structs.replace(FIRST[1].block, signature=bytes(64)))
    detail = f"block {FIRST[1].digest.hex()[:8]} is not signed by the member it names"
    assert faults(one.show(forged, by=2)) == [Refuse(MEMBERS[2].id, Offence.WRONG_SIGNATURE, detail)]


def test_a_block_by_nobody_refuses_its_sender() -> None:
    one = One()
    content = msgspec.structs.replace(FIRST[1].block.content, author=9)
    outsider = Forged(FIRST[1].digest, msgspec.structs.replace(FIRST[1].block, content=content))
    assert faults(one.show(outsider, by=2)) == [
        Refuse(MEMBERS[2].id, Offence.UNKNOWN_MEMBER, "author is 9, allowed: 0 to 3"),
    ]


def test_a_block_of_another_network_is_not_signed_for_this_one() -> None:
    one = One()
    other = TotalOrder(
        rules=RULES,
        network_id=NetworkId(b"x" * 32),
        members=tuple(member.id for member in MEMBERS),
        identity=MEMBERS[1].id,
        sign=MEMBERS[1].sign,
        seed=b"",
        archive=Disk(),
    )
    other.start(NOW)
    other.handle(PeerJoined(MEMBERS[2].id), NOW)
    other.handle(PeerJoined(MEMBERS[3].id), NOW)
    other.handle(Received(MEMBERS[2].id, encode(OwnNewest(NOW, None))), NOW)
    effects = other.handle(Received(MEMBERS[3].id, encode(OwnNewest(NOW, None))), NOW)
    (message,) = [effect.message for effect in effects if isinstance(effect, Broadcast)]
    assert [effect.offence for effect in faults(one.say(MEMBERS[1].id, message)) if isinstance(effect, Refuse)] == [
        Offence.WRONG_SIGNATURE
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x93\x01\x02\x03",
        encode(BlockMessage(FIRST[1].block))[:-1],
        encode(BlockMessage(FIRST[1].block)) + b"\x00",
        b"\x92\x00" + b"\x91" * 5_000,
        msgspec.msgpack.encode([99, []]),
        msgspec.msgpack.encode([3, 1, []]),
    ],
)
def test_malformed_bytes_refuse_their_sender(data: bytes) -> None:
    one = One()
    (refusal,) = one.say(MEMBERS[1].id, data)
    assert isinstance(refusal, Refuse)
    assert (refusal.peer, refusal.offence) == (MEMBERS[1].id, Offence.MALFORMED)


def test_a_longer_encoding_of_the_same_block_is_malformed() -> None:
    data = encode(BlockMessage(FIRST[1].block))
    position = data.index(b"\x01\x01")  # author 1, round 1
    one = One()
    (refusal,) = one.say(MEMBERS[1].id, data[: position + 1] + b"\xcc\x01" + data[position + 2 :])
    assert refusal == Refuse(MEMBERS[1].id, Offence.MALFORMED, "the encoding is not canonical")


def test_an_oversized_message_is_not_even_read() -> None:
    one = One()
    size = MESSAGE_BYTES_MAX + 1
    assert one.say(MEMBERS[1].id, bytes(size)) == [
        Refuse(MEMBERS[1].id, Offence.OVERSIZED, f"message of {size} bytes, allowed: {MESSAGE_BYTES_MAX}")
    ]


def test_every_field_of_a_block_is_bounded_so_none_is_oversized_and_sound() -> None:
    assert BLOCK_BYTES_MAX < MESSAGE_BYTES_MAX


@pytest.mark.parametrize(
    ("message", "offence", "detail"),
    [
        (Blocks(1, (FIRST[2].block,)), Offence.UNSOLICITED, "answer to request 1"),
        (Commits(1, ()), Offence.UNSOLICITED, "answer to request 1"),
    ],
)
def test_answers_that_nobody_asked_for_refuse_their_sender(message: Message, offence: Offence, detail: str) -> None:
    assert faults(One().say(MEMBERS[1].id, message)) == [Refuse(MEMBERS[1].id, offence, detail)]


def test_answers_to_an_earlier_life_refuse_nobody() -> None:
    before = One()
    for block in FIRST[1:]:
        before.show(block)
    again = One(disk=before.disk)
    for message in (Blocks(1, (FIRST[2].block,)), Commits(2, ())):
        assert faults(again.say(MEMBERS[1].id, message)) == []
    assert faults(again.say(MEMBERS[1].id, Commits(2**62, ()))) != []


def test_an_observer_has_no_blocks_of_its_own() -> None:
    one = One()
    assert faults(one.say(OBSERVER.id, OwnBlocks(()))) == [Refuse(OBSERVER.id, Offence.UNSOLICITED, "own blocks")]
    one = One()
    assert faults(one.say(OBSERVER.id, AskOwn(1))) == [
        Refuse(OBSERVER.id, Offence.UNKNOWN_MEMBER, "asks for blocks of its own, but is no member")
    ]


def test_an_answer_holds_only_what_was_asked() -> None:
    one = One()
    second = FORGE.on(1, [FIRST[1], FIRST[2], FIRST[3]])
    effects = one.show(second)
    one.do(one.machine.handle(PeerLeft(MEMBERS[2].id), NOW))
    effects += one.do(one.machine.handle(TimerFired("sync"), Instant(NOW + 250)))
    asked = {
        (effect.peer, request.number): request.references
        for effect in effects
        if isinstance(effect, Send) and isinstance(request := read(effect.message), GetBlocks)
    }
    assert {reference for references in asked.values() for reference in references} == {block.reference for block in FIRST[1:]}
    (peer, number), _ = next(iter(asked.items()))
    effects = one.say(peer, Blocks(number, (FORGE.first(3, time_ms=3).block,)), NOW + 260)
    assert [effect.offence for effect in faults(effects) if isinstance(effect, Refuse)] == [Offence.UNSOLICITED]


def test_a_flood_of_requests_is_ignored_and_then_refused() -> None:
    one = One()
    answers = 0
    for _ in range(6_000):
        effects = one.say(MEMBERS[1].id, GetBlocks(1, (FIRST[1].reference,)))
        answers += sum(isinstance(effect, Send) for effect in effects)
        if faults(effects):
            assert faults(effects) == [Refuse(MEMBERS[1].id, Offence.FLOODING, "requests")]
            break
    else:
        pytest.fail("never refused")
    assert answers == 128


def test_blocks_of_who_sends_too_many_are_passed_over_and_taken_from_another() -> None:
    one = One()
    for number in range(1_000, 1_000 + BLOCKS_BURST):
        parents = [Reference(number - 1, author, bytes([author, number % 256]) * 16) for author in (1, 0, 2, 3)]
        one.show(FORGE.block(1, number, parents))
    assert faults(one.effects) == []
    assert one.show(FIRST[2], by=1) == [PassOver()]
    assert PassOver() not in one.show(FIRST[2], by=3)


def test_two_blocks_for_one_round_are_evidence_and_the_second_is_not_kept() -> None:
    one = One()
    twin = FORGE.first(1, time_ms=77)
    one.show(FIRST[1])
    effects = one.show(twin, by=2)
    (accusation,) = [effect.accusation for effect in faults(effects) if isinstance(effect, Accuse)]
    assert accusation == accuse(FORGE.committee, NETWORK, twin.block, FIRST[1].block)
    assert proves_equivocation(FORGE.committee, NETWORK, accusation)
    status = one.machine.status
    assert (status.equivocators, status.counters.twins_refused) == ((MEMBERS[1].id,), 1)
    assert faults(one.show(FORGE.first(1, time_ms=78), by=2)) == [], "one accusation is enough"
    one.show(*FIRST[2:])
    effects = one.do(one.machine.handle(TimerFired(PACE_TIMER), Instant(NOW + 5_000)))
    (second,) = own_blocks(effects)
    assert [parent.author for parent in second.block.content.parents] == [0, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda accusation: Accusation(MEMBERS[2].id, accusation.offence, "", accusation.evidence),
        lambda accusation: Accusation(MEMBERS[1].id, accusation.offence, "", accusation.evidence[:-1]),
        lambda accusation: Accusation(MEMBERS[1].id, accusation.offence, "", accusation.evidence[:-64] + bytes(64)),
        lambda _: accuse(FORGE.committee, NETWORK, FIRST[1].block, FIRST[1].block),
        lambda _: accuse(FORGE.committee, NETWORK, FIRST[1].block, FIRST[2].block),
    ],
)
def test_false_evidence_proves_nothing(change: object) -> None:
    true = accuse(FORGE.committee, NETWORK, FIRST[1].block, FORGE.first(1, time_ms=7).block)
    assert callable(change)
    assert not proves_equivocation(FORGE.committee, NETWORK, change(true))


def test_our_own_key_in_other_hands_stops_the_node() -> None:
    one = One()
    effects = one.show(FORGE.first(0, time_ms=1), by=1)
    reason = "our own key signed two blocks for round 1: another node runs with it, or its redo log was lost"
    assert faults(effects) == [Halt(reason)]
    assert one.say(MEMBERS[1].id, Subscribe(1, False)) == []


def test_a_block_of_our_own_from_an_earlier_life_is_built_upon() -> None:
    one = One(answers=False)
    lost = FORGE.first(0)
    one.say(MEMBERS[1].id, OwnNewest(NOW, lost.block))
    one.say(MEMBERS[2].id, OwnNewest(NOW, None))
    assert not [effect for effect in one.effects if isinstance(effect, Broadcast)], "round 1 is signed already"
    one.show(*FIRST[1:])
    effects = one.do(one.machine.handle(TimerFired(PACE_TIMER), Instant(NOW + 1_000)))
    (second,) = own_blocks([*one.effects])
    assert effects is not None
    assert second.block.content.parents[0] == lost.reference


def test_a_false_proof_of_our_own_block_does_not_silence_us() -> None:
    one = One(answers=False)
    stolen = FORGE.first(1)
    assert faults(one.say(MEMBERS[1].id, OwnNewest(NOW, stolen.block))) == [
        Refuse(MEMBERS[1].id, Offence.WRONG_SIGNATURE, "shows a block as ours that is not")
    ]
    one.say(MEMBERS[2].id, OwnNewest(NOW, None))
    assert one.machine.status.is_recovering
    one.say(MEMBERS[3].id, OwnNewest(NOW, None))
    assert one.machine.status.own_round == 1


def test_an_unsigned_block_of_ours_does_not_silence_us() -> None:
    one = One(answers=False)
    forged = msgspec.structs.replace(FORGE.block(0, 900, invented_parents(899)).block, signature=bytes(64))
    assert faults(one.say(MEMBERS[1].id, OwnNewest(NOW, forged))) == [
        Refuse(MEMBERS[1].id, Offence.WRONG_SIGNATURE, "shows a block as ours that is not")
    ]
    for member in MEMBERS[2:]:
        one.say(member.id, OwnNewest(NOW, None))
    assert one.machine.status.own_round == 1


def invented_parents(number: int) -> tuple[Reference, ...]:
    return tuple(Reference(number, author, bytes([author]) * 32) for author in range(4))


def test_the_guard_file_alone_keeps_us_from_signing_again() -> None:
    one = One(guard=2)
    one.show(*FIRST[1:])
    assert one.machine.status.own_round == 0
    second = [FORGE.on(author, FIRST[1:]) for author in (1, 2, 3)]
    third = one.show(*second) + one.do(one.machine.handle(TimerFired(PACE_TIMER), Instant(NOW + 1_000)))
    assert [block.block.content.round for block in own_blocks(third)] == [3]
    assert Guard(3) in third


def test_a_block_waits_for_its_large_payload_which_is_fetched_from_who_has_it() -> None:
    one = One()
    payload = attachment("gradient")
    heavy = FORGE.first(1, attachments=(payload,), items=(item(),))
    effects = one.show(heavy)
    fetch = FetchAttachment(Digest(payload.digest), payload.length, MEMBERS[1].id)
    effects += one.do(one.machine.handle(TimerFired("sync"), Instant(NOW + 250)))
    assert [effect for effect in effects if isinstance(effect, FetchAttachment)] == [fetch]
    assert one.machine.status.suspended == 1
    effects = one.do(one.machine.handle(FetchFailed(fetch.digest, fetch.peer), Instant(NOW + 16_000)))
    (again,) = [effect for effect in effects if isinstance(effect, FetchAttachment)]
    assert again.peer != MEMBERS[1].id
    effects = one.do(one.machine.handle(AttachmentHeld(Digest(payload.digest)), Instant(NOW + 16_100)))
    assert next(effect.key for effect in effects if isinstance(effect, Record)).endswith(heavy.digest)
    assert one.machine.status.suspended == 0


def test_our_own_large_payload_is_named_in_our_block() -> None:
    one = One()
    one.show(*FIRST[1:])
    payload = Attachment(Digest(b"d" * 32), 5_000_000)
    one.do(one.machine.handle(Submitted(genesis_step(NETWORK), b"gradient", (payload,)), Instant(NOW + 5)))
    (_, second) = own_blocks(one.effects)
    assert [(named.digest, named.length) for named in second.block.content.attachments] == [(payload.digest, 5_000_000)]


def test_an_observer_signs_nothing_and_delivers_the_same() -> None:
    watcher = One(who=OBSERVER.id, answers=False)
    rounds = [FIRST]
    for _ in range(4):
        rounds.append([FORGE.on(author, rounds[-1]) for author in range(4)])
    effects = [effect for blocks in rounds for effect in watcher.show(*blocks, by=1)]
    assert [effect.step.height for effect in effects if isinstance(effect, Deliver)] == [1, 2, 3]
    assert not [effect for effect in watcher.effects if isinstance(effect, Broadcast | Guard)]


def test_only_members_are_asked_for_their_blocks_and_observers_get_all() -> None:
    one = One()
    one.say(OBSERVER.id, Subscribe(1, True))
    effects = one.show(FIRST[1])
    assert [effect.peer for effect in effects if isinstance(effect, Send)] == [OBSERVER.id]


def test_a_crowd_of_observers_gets_its_share_of_blocks_in_turn_and_no_more() -> None:
    one = One()
    crowd = [person(f"observer {number}").id for number in range(60)]
    for peer in crowd:
        one.do(one.machine.handle(PeerJoined(peer), NOW))
        one.say(peer, Subscribe(1, True))
    rounds = [FIRST[1:]]
    for _ in range(8):
        rounds.append([FORGE.on(author, rounds[-1]) for author in range(1, 4)])
    effects = [effect for blocks in rounds[:4] for effect in one.show(*blocks, by=1)]
    served = Counter(effect.peer for effect in effects if isinstance(effect, Send) and effect.peer in crowd)
    assert served.total() <= UNITS_PER_TICK
    assert served.total() > UNITS_PER_TICK // 2
    one.do(one.machine.handle(TimerFired("sync"), Instant(NOW + 250)))
    effects = [effect for blocks in rounds[4:] for effect in one.show(*blocks, by=1)]
    served += Counter(effect.peer for effect in effects if isinstance(effect, Send) and effect.peer in crowd)
    assert UNITS_PER_TICK < served.total() <= 2 * UNITS_PER_TICK
    assert len(served) == len(crowd)
    assert max(served.values()) <= 2 * min(served.values())


@pytest.mark.parametrize(("from_round", "rounds"), [(1, [1]), (2, [])])
def test_whoever_subscribes_is_answered_with_our_own_blocks_from_that_round_on(from_round: int, rounds: list[int]) -> None:
    (effect,) = One().say(MEMBERS[1].id, Subscribe(from_round, False))
    assert isinstance(effect, Send)
    answer = read(effect.message)
    assert isinstance(answer, OwnBlocks)
    assert [block.content.round for block in answer.blocks] == rounds


def test_a_commit_that_is_not_known_has_an_empty_answer() -> None:
    assert One().say(OBSERVER.id, GetCommits(7, 1)) == [Send(OBSERVER.id, encode(Commits(7, ())))]


# --- records --------------------------------------------------------------------------------------------------------


def grown() -> One:
    one = One()
    before = [*own_blocks(one.effects)]
    assert len(before) == 1
    one.show(*FIRST[1:])
    return one


@pytest.mark.parametrize("damage", ["bytes", "key", "parent", "commit"])
def test_damaged_records_are_named(damage: str) -> None:
    disk = grown().disk
    keys = sorted(key for key in disk.tables if key[0] == VERTEX_TABLE)
    match damage:
        case "bytes":
            disk.tables[keys[0]] = disk.tables[keys[0]][:-1]
        case "key":
            disk.tables[VERTEX_TABLE, keys[0][1][:-1] + b"\x00"] = disk.tables.pop(keys[0])
        case "parent":
            orphan = FORGE.on(1, [*FIRST[1:3], FORGE.first(3, time_ms=9)])
            disk.tables[VERTEX_TABLE, (2).to_bytes(8, "big") + (1).to_bytes(4, "big") + orphan.digest] = encode(orphan.block)
        case _:
            record = CommitRecord(2, bytes(32), Reference(1, 1, FIRST[1].digest), 0, ())
            disk.tables["commit", (2).to_bytes(8, "big")] = encode(record)
    with pytest.raises(CorruptRecordsError, match=r"record|recorded"):
        One(disk=disk)


def test_a_kept_state_of_an_unknown_step_is_an_error() -> None:
    with pytest.raises(CorruptRecordsError, match="which is no commit by the records"):
        TotalOrder(
            rules=RULES,
            network_id=NETWORK,
            members=tuple(member.id for member in MEMBERS),
            identity=MEMBERS[0].id,
            sign=MEMBERS[0].sign,
            seed=b"",
            archive=Disk(),
            replay_from=StepId(b"k" * 32),
        )
