"""Commits for a member that is far behind, from members of whom one lies: what is not proven is neither kept nor pursued."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import pytest

from consensus.effects import Effect, FetchState, Offence, Record, Refuse, Send
from consensus.encoding import CorruptRecordsError, encode
from consensus.protocol import FetchFailed, PeerJoined, PeerLeft, StateHeld, TimerFired
from consensus.steps import genesis_step
from consensus.total_order import commit_fetch
from consensus.total_order.block import Checkpoint, CommitMark, Reference
from consensus.total_order.commit_sync import PAUSE_MS, RANGE_ROUNDS_MAX
from consensus.total_order.linearizer import COMMIT_CODEC, REFERENCES_MAX, CommitRecord, commit_digest, record_fault
from consensus.total_order.machine import SYNC_MS
from consensus.total_order.messages import ANSWER_BYTES_MAX, COMMITS_MAX, BlockMessage, Blocks, Commits, GetBlocks, GetCommits
from consensus.total_order.records import BASE_TABLE, COMMIT_TABLE, index_key
from consensus.total_order.state_sync import CHAIN_MS
from consensus.types import Digest, Instant, PeerId
from node.lab.checkers.bounds import sizes_of
from tests.consensus.total_order.forge import NETWORK, Forged, own_first, person
from tests.consensus.total_order.network import RULES, Disk, read
from tests.consensus.total_order.test_machine import FIRST, FORGE, MEMBERS, NOW, One

STATE = b"s" * 32


def invented(index: int, previous: bytes, references: int = 4, salt: int = 0) -> CommitRecord:
    """A commit of blocks that nobody has."""
    leader_round = 10_000 + index
    slots = [(number, author) for number in range(leader_round - references // 4, leader_round) for author in range(4)]
    blocks = [Reference(*slot, bytes([salt]) + (4 * slot[0] + slot[1]).to_bytes(31, "big")) for slot in slots]
    return CommitRecord(index, previous, Reference(leader_round, 0, bytes([salt]) + bytes(31)), index, tuple(blocks))


def chain(length: int, salt: int = 0, references: int = 4) -> list[CommitRecord]:
    """From commit 1 on."""
    records: list[CommitRecord] = []
    previous: bytes = genesis_step(NETWORK)
    for index in range(1, length + 1):
        records.append(invented(index, previous, references, salt))
        previous = commit_digest(NETWORK, records[-1])
    return records


TRUE = chain(400)
FALSE = chain(400, salt=1)


@dataclass(frozen=True)
class Asked:
    """A request for commits."""

    peer: PeerId
    number: int
    first: int


class Joiner(One):
    """An observer that has nothing; members name commits of a chain to it."""

    def __init__(self, *, seed: bytes = b"one", records: Sequence[CommitRecord] = ()) -> None:
        super().__init__(who=person("joiner").id, answers=False, seed=seed, snapshot_behind=100)
        self.now = int(NOW)
        self.records = records or TRUE
        self.do(self.machine.handle(PeerJoined(MEMBERS[0].id), NOW))

    def name(self, *members: int, index: int = 400, joins: bool = False, number: int = 1_000) -> list[Effect]:
        """These members sign that they have the commit, and a checkpoint of it if it is joined."""
        digest = commit_digest(NETWORK, self.records[index - 1])
        effects = []
        for author in members:
            parents = own_first(author, (Reference(number - 1, other, b"p" * 31 + bytes([other])) for other in range(4)))
            checkpoint = Checkpoint(index, digest, STATE) if joins else None
            block = FORGE.block(author, number, parents, commit=CommitMark(index, digest), checkpoint=checkpoint)
            effects += self.say(MEMBERS[author].id, BlockMessage(block.block), self.now)
        return effects

    def ticks(self, count: int = 1) -> list[Effect]:
        effects = []
        for _ in range(count):
            self.now += SYNC_MS
            effects += self.do(self.machine.handle(TimerFired("sync"), Instant(self.now)))
        return effects

    def answer(self, asked: Asked, records: Sequence[CommitRecord], after_ms: int = 20) -> list[Effect]:
        self.now += after_ms
        return self.say(asked.peer, Commits(asked.number, tuple(records)), self.now)


def requests(effects: Sequence[Effect]) -> list[Asked]:
    made = []
    for effect in effects:
        if isinstance(effect, Send):
            message = read(effect.message)
            if isinstance(message, GetCommits):
                made.append(Asked(effect.peer, message.number, message.first))
    return made


def refusals(effects: Sequence[Effect]) -> list[Refuse]:
    return [effect for effect in effects if isinstance(effect, Refuse)]


def begun(mode: str, seed: bytes = b"one", index: int = 400) -> tuple[Joiner, Asked]:
    """A newcomer that has asked its first source."""
    joiner = Joiner(seed=seed)
    joiner.name(1, 2, index=index, joins=mode == "joining")
    (asked,) = requests(joiner.ticks())
    return joiner, asked


def after(records: Sequence[CommitRecord], first: int) -> list[CommitRecord]:
    """An honest answer."""
    return list(records[first - 1 : first - 1 + COMMITS_MAX])


MODES = ["joining", "catching up"]

OTHER_TIME = msgspec.structs.replace(TRUE[398], time_ms=7)

LIES: dict[str, tuple[Callable[[int], list[CommitRecord]], str]] = {
    "above what was asked for": (lambda first: TRUE[399:], "commits from 400 on, asked for: {first}"),
    "below what was asked for": (lambda first: after(TRUE, first - 1), "commits from {before} on, asked for: {first}"),
    "another chain": (lambda first: after(FALSE, first), "another commit 400 than members have signed"),
    "a gap": (
        lambda first: [*TRUE[first - 1 : first + 1], *TRUE[first + 2 : 400]],
        "commits that are no chain from commit {first} on",
    ),
    "a changed commit": (
        lambda first: [*TRUE[first - 1 : 398], OTHER_TIME, TRUE[399]],
        "commits that are no chain from commit {first} on",
    ),
    "a changed end": (
        lambda first: [*TRUE[first - 1 : 399], msgspec.structs.replace(TRUE[399], time_ms=7)],
        "another commit 400 than members have signed",
    ),
    "too many bytes": (
        lambda first: [invented(first, bytes(32), 8_000), invented(first + 1, bytes(32), 8_000)],
        "2 commits in {size} bytes, allowed: 524288",
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lie", LIES)
def test_each_false_answer_refuses_its_sender_and_another_is_asked(mode: str, lie: str) -> None:
    joiner, asked = begun(mode)
    make, detail = LIES[lie]
    records = make(asked.first)
    size = sum(len(encode(record)) for record in records)
    expected = detail.format(first=asked.first, before=asked.first - 1, size=size)
    effects = joiner.answer(asked, records)
    assert refusals(effects) == [Refuse(asked.peer, Offence.MALFORMED, expected)]
    (next_asked,) = requests(effects)
    assert next_asked.peer != asked.peer
    assert joiner.machine.status.missing == 0
    assert (next_asked.first, joiner.machine.status.commits) == (asked.first, 0)


def walk(joiner: Joiner, asked: Asked, records: Sequence[CommitRecord] = TRUE) -> list[Effect]:
    """Answer honestly until nothing more is asked."""
    effects: list[Effect] = []
    pending = [asked]
    while pending:
        effects = joiner.answer(pending[0], after(records, pending[0].first))
        pending = requests(effects)
    return effects


def test_a_joiner_needs_the_commits_above_the_horizon_and_asks_a_signer_for_the_state() -> None:
    joiner, asked = begun("joining")
    assert asked.first == 400 - RULES.gc_depth
    effects = walk(joiner, asked)
    (fetch,) = [effect for effect in effects if isinstance(effect, FetchState)]
    assert (fetch.height, fetch.state_digest, sorted(fetch.peers)) == (
        400,
        STATE,
        sorted(MEMBERS[index].id for index in (1, 2)),
    )


def test_whoever_goes_on_from_a_checkpoint_asks_for_all_blocks_that_newer_ones_build_on_at_once() -> None:
    joiner, asked = begun("joining")
    (fetch,) = [effect for effect in walk(joiner, asked) if isinstance(effect, FetchState)]
    effects = joiner.do(joiner.machine.handle(StateHeld(fetch.step, b"state"), Instant(joiner.now))) + joiner.ticks()
    messages = [read(effect.message) for effect in effects if isinstance(effect, Send)]
    named = {reference for message in messages if isinstance(message, GetBlocks) for reference in message.references}
    held = {reference for record in TRUE[400 - RULES.gc_depth : 400] for reference in record.references}
    assert {reference for reference in held if reference.round > TRUE[399].leader.round - RULES.gc_depth} <= named
    assert len(named) > 3 * RULES.gc_depth


def test_signers_are_asked_for_the_state_by_lot_and_those_that_are_connected_first() -> None:
    orders = set()
    for number in range(24):
        joiner = Joiner(seed=bytes([number]))
        joiner.name(0, 1, 2, joins=True)
        joiner.do(joiner.machine.handle(PeerLeft(MEMBERS[0].id), Instant(joiner.now)))
        (asked,) = requests(joiner.ticks())
        (fetch,) = [effect for effect in walk(joiner, asked) if isinstance(effect, FetchState)]
        orders.add(fetch.peers)
    one, two, gone = (MEMBERS[index].id for index in (1, 2, 0))
    assert orders == {(one, two, gone), (two, one, gone)}


def test_a_state_that_nobody_gives_is_followed_by_that_of_the_newest_checkpoint_after_a_pause() -> None:
    joiner = Joiner()
    joiner.name(1, 2, index=390, joins=True)
    (asked,) = requests(joiner.ticks())
    (fetch,) = [effect for effect in walk(joiner, asked) if isinstance(effect, FetchState)]
    joiner.name(1, 2, index=400, joins=True, number=1_001)
    failed_at = joiner.now
    joiner.do(joiner.machine.handle(FetchFailed(Digest(b"another state".ljust(32)), fetch.peers[-1]), Instant(joiner.now)))
    assert requests(joiner.ticks()) == []
    joiner.do(joiner.machine.handle(FetchFailed(fetch.state_digest, fetch.peers[-1]), Instant(joiner.now)))
    while 400 - RULES.gc_depth not in [again.first for again in requests(joiner.ticks())]:
        assert joiner.now - failed_at < 4_000


@pytest.mark.parametrize("mode", MODES)
def test_a_silent_source_is_followed_by_another_and_not_asked_again_in_the_attempt(mode: str) -> None:
    joiner, asked = begun(mode)
    seen = [asked.peer]
    for _ in range(3):
        (asked,) = requests(joiner.ticks(commit_fetch.ANSWER_MS // SYNC_MS))
        seen.append(asked.peer)
    assert sorted(seen) == sorted(member.id for member in MEMBERS), "each once"


def test_a_walk_in_which_everybody_failed_is_over_and_the_next_begins_after_a_pause() -> None:
    joiner, asked = begun("catching up")
    asked_at = []
    while len(asked_at) < 5:
        asked_at.append(joiner.now)
        effects = joiner.answer(asked, [])
        while not requests(effects):
            effects = joiner.ticks()
        (asked,) = requests(effects)
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert [pause >= PAUSE_MS for pause in pauses] == [False, False, False, True]


def test_where_nobody_gives_the_chain_to_a_checkpoint_replaying_goes_on() -> None:
    joiner, asked = begun("joining")
    firsts = []
    for _ in range(5):
        firsts.append(asked.first)
        effects = joiner.answer(asked, [])
        (asked,) = requests(effects) or requests(joiner.ticks())
    assert firsts == [380, 380, 380, 380, 337]


def test_commits_that_never_reach_the_checkpoint_keep_no_attempt_alive() -> None:
    """A liar answers in time, for ever: one commit at a time, each a true one."""
    joiner, asked = begun("joining")
    begun_at = joiner.now
    effects: list[Effect] = []
    count = 0
    while not [effect for effect in effects if isinstance(effect, FetchState)]:
        assert count < 10
        is_liar = asked.peer == MEMBERS[1].id
        effects = joiner.answer(asked, after(TRUE, asked.first)[: 1 if is_liar else COMMITS_MAX], 2_900 if is_liar else 20)
        count += 1
        (asked,) = requests(effects) or (asked,)
    assert joiner.now - begun_at <= 2 * 2_900 + 100
    assert count <= 4


def test_whoever_drips_one_true_commit_at_a_time_has_a_turn_now_and_then_alone() -> None:
    """All sources but one drip: the walk of 400 commits ends all the same, as often as not with the quick one."""
    joiner, asked = begun("catching up")
    begun_at = joiner.now
    while joiner.now < begun_at + 120_000:
        is_quick = asked.peer == MEMBERS[3].id
        effects = joiner.answer(asked, after(TRUE, asked.first)[: COMMITS_MAX if is_quick else 1], 20 if is_quick else 2_900)
        if asked.first == 1 and is_quick:
            break
        (asked,) = requests(effects)
    else:
        pytest.fail("it goes on for ever")


@pytest.mark.parametrize(("after_ms", "is_followed"), [(commit_fetch.SLOW_MS - 1, False), (commit_fetch.SLOW_MS, True)])
def test_who_is_slow_is_followed_by_another_however_much_it_gives(after_ms: int, is_followed: bool) -> None:
    joiner, asked = begun("catching up")
    (following,) = requests(joiner.answer(asked, after(TRUE, asked.first), after_ms))
    assert (following.peer != asked.peer) == is_followed
    assert following.first == asked.first - COMMITS_MAX


def test_an_attempt_to_join_ends_after_a_while_though_all_drip_and_the_next_is_for_the_newest_checkpoint() -> None:
    joiner, asked = begun("joining", index=390)
    joiner.name(1, 2, index=400, joins=True, number=1_001)
    firsts = [asked.first]
    for _ in range(CHAIN_MS // 2_900 + 1):
        effects = joiner.answer(asked, [TRUE[asked.first - 1]], 2_900) + joiner.ticks()
        assert not [effect for effect in effects if isinstance(effect, FetchState)]
        *_, asked = requests(effects)
        firsts.append(asked.first)
    assert (firsts[0], firsts[-1]) == (390 - RULES.gc_depth, 400 - RULES.gc_depth)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_megabytes_of_made_up_commits_leave_nothing_behind(mode: str) -> None:
    joiner, asked = begun(mode)
    attempts = 0
    for salt in range(24):
        made_up = [invented(asked.first, bytes(32), REFERENCES_MAX, salt)]
        assert len(encode(made_up[0])) > 600_000
        effects = joiner.answer(asked, made_up)
        attempts += 1
        joiner.do(joiner.machine.handle(PeerJoined(asked.peer), Instant(joiner.now)))
        for _ in range(100):
            if requests(effects):
                break
            effects = joiner.ticks()
        (asked,) = requests(effects)
        assert joiner.machine.status.missing == 0
    assert attempts == 24
    assert not [effect for effect in joiner.effects if isinstance(effect, Send) and isinstance(read(effect.message), GetBlocks)]


def test_nothing_is_pursued_for_commits_that_f_plus_1_members_do_not_name() -> None:
    """One member alone names a chain, and would serve it: it is not even asked for."""
    joiner = Joiner()
    joiner.name(1)
    assert requests(joiner.ticks(40)) == []
    joiner.name(2)
    assert len(requests(joiner.ticks())) == 1


def test_the_blocks_of_a_long_range_are_pursued_a_bounded_number_at_a_time() -> None:
    joiner, asked = begun("catching up")
    walk(joiner, asked)
    assert 0 < joiner.machine.status.missing <= RANGE_ROUNDS_MAX * 4 + 4
    joiner.ticks(20)
    assert joiner.machine.status.missing <= RANGE_ROUNDS_MAX * 4 + 4


def test_where_newer_commits_are_certain_the_last_ones_of_a_range_wait_for_no_other_word() -> None:
    """Who vouches for them does so in blocks of later commits: those are asked for at once, and not after the next attempt."""
    joiner, asked = begun("catching up", index=40)
    walk(joiner, asked)
    assert requests(joiner.ticks(8)) == []
    joiner.name(1, 2, index=100, number=2_000)
    pending = requests(joiner.ticks())
    firsts = []
    while pending:
        firsts.append(pending[0].first)
        pending = requests(joiner.answer(pending[0], after(TRUE, pending[0].first)))
    assert firsts == [41]


def test_of_many_rungs_on_the_way_down_the_lowest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.total_order.commit_sync.RUNGS_MAX", 2)
    joiner, asked = begun("catching up")
    held, pending = [], [asked]
    while pending:
        pending = requests(joiner.answer(pending[0], after(TRUE, pending[0].first)))
        held.append(sizes_of(joiner.machine)["CommitSync._rungs"])
    assert max(held) == 2
    assert joiner.machine.status.missing > 0, "our end was reached all the same"


def test_a_commit_that_no_member_can_have_made_is_refused_even_if_f_plus_1_members_sign_it() -> None:
    outsider = msgspec.structs.replace(TRUE[0], references=(Reference(1, 150, b"x" * 32),))
    assert record_fault(outsider, FORGE.committee) == "commit 1 names member 150, allowed: 0 to 3"
    late = msgspec.structs.replace(TRUE[0], references=(Reference(20_000, 0, b"x" * 32),))
    assert record_fault(late, FORGE.committee) == "commit 1 holds a block of a later round than its leader's, 10001"
    twice = msgspec.structs.replace(TRUE[0], references=(Reference(1, 0, b"x" * 32), Reference(1, 0, b"y" * 32)))
    assert record_fault(twice, FORGE.committee) == (
        "commit 1 does not hold its blocks in order, or two of one author and round"
    )
    assert record_fault(TRUE[3], FORGE.committee) is None


def test_whoever_serves_such_a_commit_is_refused() -> None:
    outsider = msgspec.structs.replace(TRUE[9], references=(Reference(1, 150, b"x" * 32),))
    joiner = Joiner(records=[*TRUE[:9], outsider])
    joiner.name(1, 2, index=10)
    (asked,) = requests(joiner.ticks())
    effects = joiner.answer(asked, joiner.records)
    detail = "commit 10 names member 150, allowed: 0 to 3"
    assert refusals(effects) == [Refuse(asked.peer, Offence.MALFORMED, detail)]


def test_a_chain_of_large_commits_is_fetched_a_few_at_a_time() -> None:
    """As many as fit into one answer: a source that gives fewer than were asked for is no liar."""
    records = chain(30, references=3_000)
    assert sum(len(encode(record)) for record in records) > 2 * ANSWER_BYTES_MAX
    joiner = Joiner(records=records)
    joiner.name(1, 2, index=30)
    pending = requests(joiner.ticks())
    asked = []
    while pending and len(asked) < 50:
        fitting = 3
        asked.append(pending[0].first)
        effects = joiner.answer(pending[0], records[pending[0].first - 1 :][:fitting])
        assert refusals(effects) == []
        pending = requests(effects)
    assert asked[:6] == [1, 1, 15, 23, 27, 29], "half as many each time, until an answer holds them"
    assert (min(asked[6:]), asked[-1]) == (1, 29), "down to our end, and up again"
    assert joiner.machine.status.missing > 0


# --- taking over ----------------------------------------------------------------------------------------------------

HEIGHT = 20


@functools.cache
def grown() -> tuple[list[CommitRecord], dict[bytes, Forged]]:
    """A true order up to one commit, and its blocks, which name no commit themselves."""
    rounds = [FIRST]
    donor = One(who=person("donor").id, answers=False)
    records: list[CommitRecord] = []
    while len(records) < HEIGHT:
        for effect in donor.show(*rounds[-1], by=1):
            if isinstance(effect, Record) and effect.table == COMMIT_TABLE:
                records.append(COMMIT_CODEC.decode(effect.value))
        rounds.append([FORGE.on(author, rounds[-1]) for author in range(4)])
    needed = {reference.digest for record in records for reference in record.references}
    return records, {block.digest: block for made in rounds for block in made if block.digest in needed}


def fed(*members: int) -> Joiner:
    """A joiner that these members name the last commit to, after it was given all that it asked for."""
    records, blocks = grown()
    joiner = Joiner(records=records)
    pending = joiner.name(*members, index=HEIGHT) + joiner.ticks()
    while pending:
        effects: list[Effect] = []
        for effect in pending:
            message = read(effect.message) if isinstance(effect, Send) else None
            if isinstance(effect, Send) and isinstance(message, GetCommits):
                effects += joiner.answer(Asked(effect.peer, message.number, message.first), after(records, message.first))
            if isinstance(effect, Send) and isinstance(message, GetBlocks):
                found = tuple(blocks[name.digest].block for name in message.references if name.digest in blocks)
                effects += joiner.say(effect.peer, Blocks(message.number, found), joiner.now)
        pending = effects
    return joiner


def test_what_f_plus_1_members_name_is_fetched_and_only_what_a_quorum_names_is_taken_over() -> None:
    """What the blocks themselves decide is ordered; the last commits follow from no block yet, and wait for a quorum's word."""
    of_two = fed(1, 2).machine.status
    assert (of_two.counters.synced_commits, of_two.commits < HEIGHT, of_two.commits > 0) == (0, True, True)
    of_three = fed(1, 2, 3).machine.status
    assert (of_three.counters.synced_commits > 0, of_three.commits) == (True, HEIGHT)


def test_the_name_that_a_certain_commit_gives_to_a_block_replaces_a_liars() -> None:
    """Servers look an old block up by its round: a false name would keep it away for good."""
    records, blocks = grown()
    name = records[10].references[0]
    false = Reference(name.round - 1, 3, name.digest)
    newest = [block.reference for block in blocks.values() if block.block.content.round == name.round + 1]
    joiner = Joiner(records=records)
    liar = FORGE.block(3, name.round + 2, own_first(3, [*(own for own in newest if own.author != 3), false]))
    joiner.say(MEMBERS[3].id, BlockMessage(liar.block), joiner.now)
    assert joiner.machine.status.suspended == 1
    pending = joiner.name(1, 2, index=HEIGHT) + joiner.ticks()
    (asked,) = requests(pending)
    effects = joiner.answer(asked, after(records, asked.first)) + joiner.ticks(8)
    named = {
        reference
        for effect in effects
        if isinstance(effect, Send) and isinstance(message := read(effect.message), GetBlocks)
        for reference in message.references
        if reference.digest == name.digest
    }
    assert named == {name}


def test_a_machine_that_joined_by_a_checkpoint_says_what_it_cannot_deliver_again() -> None:
    """Its records begin there: a learner that has lost its state, too, must be told so, and not be given half of the order."""
    disk = Disk()
    disk.write(BASE_TABLE, index_key(5), TRUE[4].previous)
    for record in TRUE[4:8]:
        disk.write(COMMIT_TABLE, index_key(record.index), encode(record))
    with pytest.raises(CorruptRecordsError, match="commits before 5 are not recorded, and no state after them is kept"):
        One(disk=disk)
