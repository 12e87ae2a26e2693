"""One machine among honest members and liars: whatever the liars send, in whatever order, by a seed.

The honest members are a graph and an order that were made beforehand; what they say is true. The liars hold their own keys, and
say everything that can be decoded: blocks that name parents wrongly, commits above, below and beside what was asked for.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from consensus.effects import Accuse, Deliver, Effect, FetchAttachment, FetchState, Guard, Halt, Record, Refuse, Send, SetTimer
from consensus.encoding import encode
from consensus.protocol import AttachmentHeld, Input, PeerJoined, PeerLeft, Received, StateHeld, TimerFired
from consensus.steps import genesis_step
from consensus.total_order.block import Block, Checkpoint, CommitMark, Reference, block_digest
from consensus.total_order.committee import TotalOrderRules
from consensus.total_order.linearizer import COMMIT_CODEC, CommitRecord
from consensus.total_order.machine import TotalOrder
from consensus.total_order.messages import (
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
from consensus.types import Digest, Instant, PeerId, StepId
from tests.consensus.total_order.forge import (
    NETWORK,
    START_MS,
    Forge,
    Forged,
    attachment,
    item,
    own_first,
    people,
    person,
    stub_sign,
    stub_verify,
)
from tests.consensus.total_order.network import Disk, read

SIZE = 10
VICTIM, LIARS = 0, (8, 9)
"""Member 0 has signed nothing yet; members 1 to 7 are honest, and a quorum."""

HONEST = (1, 2, 3, 4, 5, 6, 7)
RULES = TotalOrderRules(gc_depth=8, round_interval_ms=1, idle_interval_ms=50, delta_ms_min=100, delta_ms_max=2_000)
STATE = b"s" * 32
FAR = 2**63 - 1
MEMBERS = tuple(member.id for member in people(SIZE))
OBSERVER = person("watcher")
FORGE = Forge(SIZE, is_real=False)


def machine_of(who: PeerId, disk: Disk, guard: int = 0, replay_from: StepId | None = None, behind: int = 0) -> TotalOrder:
    return TotalOrder(
        rules=RULES,
        network_id=NETWORK,
        members=MEMBERS,
        identity=who,
        sign=stub_sign(who),
        seed=who,
        archive=disk,
        records=disk.rows(),
        guard_round=guard,
        replay_from=replay_from,
        verify=stub_verify,
        snapshot_behind=behind,
    )


@dataclass
class World:
    """What honest members have: their blocks by round, the order of them, and a disk for each commit."""

    rounds: list[list[Forged]] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    """After each round."""
    commits: list[CommitRecord] = field(default_factory=list)
    digests: list[StepId] = field(default_factory=list)

    def grow(self, rounds: int) -> None:
        """The liars take no part."""
        donor, disk = machine_of(OBSERVER.id, Disk()), Disk()
        donor.start(Instant(START_MS))
        donor.handle(PeerJoined(MEMBERS[1]), Instant(START_MS))
        for number in range(1, rounds + 1):
            status = donor.status
            marks: dict[str, object] = {"commit": CommitMark(status.commits, status.commit)}
            if number % 8 == 0 and status.commits:
                marks["checkpoint"] = Checkpoint(status.commits, status.commit, STATE)
            made = [self._block(author, number, marks) for author in HONEST]
            self.rounds.append(made)
            for block in made:
                for effect in donor.handle(Received(MEMBERS[1], encode(BlockMessage(block.block))), Instant(START_MS + number)):
                    if isinstance(effect, Record):
                        disk.write(effect.table, effect.key, effect.value)
                    if isinstance(effect, Record) and effect.table == "commit":
                        self.commits.append(COMMIT_CODEC.decode(effect.value))
                    if isinstance(effect, Deliver):
                        self.digests.append(effect.step.id)
            self.disks.append(disk.copy())

    def _block(self, author: int, number: int, marks: dict[str, object]) -> Forged:
        if number == 1:
            return FORGE.first(author, **marks)
        return FORGE.on(author, self.rounds[-1], **marks)

    def blocks(self) -> Iterable[Forged]:
        return (block for made in self.rounds for block in made)


@dataclass
class Ordeal:
    """One history by a seed."""

    world: World
    chance: random.Random
    who: PeerId
    disk: Disk
    replay_from: StepId | None = None
    front: int = 1
    """The newest round that honest members have made."""
    snapshot_behind: int = 24
    now: int = START_MS + 10_000

    def __post_init__(self) -> None:
        self.by_digest = {block.digest: block for block in self.world.blocks()}
        self.guard = 0
        self.effects: list[Effect] = []
        self.last_step = self.replay_from
        self.liar = Liar(self.world, self.chance, self.chance.random() < 0.6)
        self._boot()

    def _boot(self) -> None:
        self.machine = machine_of(self.who, self.disk, self.guard, self.last_step, self.snapshot_behind)
        self.peers: dict[PeerId, None] = {}
        self.owed: list[tuple[PeerId, GetBlocks | GetCommits | AskOwn | Subscribe]] = []
        self.timers: dict[str, int] = {}
        self.fetched: list[FetchAttachment | FetchState] = []
        self._carry_out(self.machine.start(Instant(self.now)))
        for peer in (*MEMBERS, person("outsider").id):
            if peer != self.who:
                self.join(peer)

    # --- what happens ---

    def step(self) -> None:
        """One thing, by lot."""
        happen = self.chance.choices(
            (self.honest_word, self.honest_answer, self.lie, self.pass_time, self.side_stream, self.links, self.restart),
            (20, 25, 40, 12, 4, 2, 1),
        )
        happen[0]()

    def honest_word(self) -> None:
        """A round more, of which one block may be lost; or an old block again."""
        if self.front < len(self.world.rounds) and self.chance.random() < 0.6:
            self.front += 1
            lost = self.chance.randrange(2 * SIZE)
            for block in self.world.rounds[self.front - 1]:
                if block.block.content.author != lost:
                    self.say(MEMBERS[block.block.content.author], BlockMessage(block.block))
        else:
            made = self.chance.choice(self.world.rounds[: self.front])
            self.say(MEMBERS[self.chance.choice(HONEST)], BlockMessage(self.chance.choice(made).block))

    def honest_answer(self) -> None:
        honest = [place for place, (peer, _) in enumerate(self.owed) if peer in {MEMBERS[author] for author in HONEST}]
        if honest:
            peer, request = self.owed.pop(self.chance.choice(honest))
            self.say(peer, self.truth(peer, request))

    def lie(self) -> None:
        liar = MEMBERS[self.chance.choice(LIARS)]
        if liar not in self.peers:
            self.join(liar)
        owed = [place for place, (peer, _) in enumerate(self.owed) if peer == liar]
        request = self.owed.pop(self.chance.choice(owed))[1] if owed and self.chance.random() < 0.8 else None
        status = self.machine.status
        self.liar.view = (status.horizon + 1, status.round + 2)
        self.say(liar, self.liar.message(request))

    def pass_time(self) -> None:
        self.now += self.chance.choice((1, 10, 50, 300, 1_000, 5_000))
        self.fire()

    def fire(self) -> None:
        for name, at in sorted(self.timers.items(), key=lambda timer: timer[1]):
            if at <= self.now:
                del self.timers[name]
                self.feed(TimerFired(name))

    def side_stream(self) -> None:
        if self.fetched:
            wanted = self.fetched.pop(self.chance.randrange(len(self.fetched)))
            match wanted:
                case FetchState(step):
                    self.feed(StateHeld(step, b"state"))
                case FetchAttachment(digest):
                    self.feed(AttachmentHeld(digest))
        self.feed(AttachmentHeld(Digest(attachment("nobody asked for it").digest)))
        self.feed(StateHeld(StepId(b"n" * 32), b"nobody asked for it"))

    def links(self) -> None:
        peer = self.chance.choice([peer for peer in MEMBERS if peer != self.who])
        if peer in self.peers:
            self.leave(peer)
            self.feed(PeerLeft(peer))
        else:
            self.join(peer)

    def restart(self) -> None:
        """From what was recorded; the learner has kept all that it was delivered."""
        self._boot()

    def recover(self, duration_ms: int) -> None:
        """The liars are silent from now on, and honest members answer."""
        self.front = len(self.world.rounds)
        for author in HONEST:
            if MEMBERS[author] not in self.peers:
                self.join(MEMBERS[author])
        for block in self.world.rounds[-1]:
            self.say(MEMBERS[block.block.content.author], BlockMessage(block.block))
        end = self.now + duration_ms
        while self.now < end:
            self.now += 50
            self.fire()
            while self.owed:
                peer, request = self.owed.pop(0)
                if peer in {MEMBERS[author] for author in HONEST}:
                    self.say(peer, self.truth(peer, request))
            while self.fetched:
                self.side_stream()

    # --- honest members ---

    def truth(self, peer: PeerId, request: GetBlocks | GetCommits | AskOwn | Subscribe) -> Message:
        match request:
            case GetBlocks(number, references):
                known = (self.by_digest.get(Digest(name.digest)) for name in references if name.round <= self.front)
                return Blocks(number, tuple(block.block for block in known if block is not None))
            case GetCommits(number, first):
                made = [record for record in self.world.commits if record.leader.round <= self.front - 3]
                return Commits(number, tuple(made[first - 1 : first + 63]))
            case AskOwn(incarnation):
                return OwnNewest(incarnation, None)
            case Subscribe(from_round):
                author = MEMBERS.index(peer)
                own = [block.block for block in self.world.blocks() if block.block.content.author == author]
                return OwnBlocks(tuple(block for block in own if from_round <= block.content.round <= self.front)[:32])

    # --- the shell ---

    def join(self, peer: PeerId) -> None:
        """Honest members show their newest block to whoever connects."""
        self.peers[peer] = None
        self.feed(PeerJoined(peer))
        for block in self.world.rounds[self.front - 1]:
            if MEMBERS[block.block.content.author] == peer:
                self.say(peer, BlockMessage(block.block))

    def leave(self, peer: PeerId) -> None:
        self.peers.pop(peer, None)
        self.owed = [(other, request) for other, request in self.owed if other != peer]

    def say(self, peer: PeerId, message: Message | bytes) -> None:
        if peer in self.peers:
            self.feed(Received(peer, message if isinstance(message, bytes) else encode(message)))

    def feed(self, event: Input) -> None:
        self._carry_out(self.machine.handle(event, Instant(self.now)))

    def _carry_out(self, effects: tuple[Effect, ...]) -> None:
        self.effects += effects
        for effect in effects:
            match effect:
                case Record(table, key, value):
                    self.disk.write(table, key, value)
                case Guard(round_number):
                    self.guard = round_number
                case SetTimer(name, at):
                    self.timers[name] = at
                case Send(peer, message) if peer in self.peers:
                    request = read(message)
                    if isinstance(request, GetBlocks | GetCommits | AskOwn | Subscribe):
                        self.owed.append((peer, request))
                case FetchAttachment() | FetchState():
                    self.fetched.append(effect)
                case Deliver(step):
                    self.last_step = step.id
                case Refuse(peer):
                    self.leave(peer)
                case _:
                    pass
        restored = [effect for effect in effects if type(effect).__name__ == "Restore"]
        if restored:
            self.last_step = restored[-1].step  # type: ignore[union-attr]

    # --- what came of it ---

    def blamed(self) -> set[PeerId]:
        refused = {effect.peer for effect in self.effects if isinstance(effect, Refuse)}
        return refused | {effect.accusation.accused for effect in self.effects if isinstance(effect, Accuse)}

    def halts(self) -> list[str]:
        return [effect.reason for effect in self.effects if isinstance(effect, Halt)]


@dataclass
class Liar:
    """What liars say, made from what they know."""

    world: World
    chance: random.Random
    is_careful: bool
    """They sign no two blocks for one round: who has been caught at that is heard no more."""
    signed: dict[tuple[int, int], Block] = field(default_factory=dict)
    view: tuple[int, int] = (1, 2)
    """The rounds that the victim keeps."""
    said: list[Message | bytes] = field(default_factory=list)

    def message(self, request: GetBlocks | GetCommits | AskOwn | Subscribe | None) -> Message | bytes:
        """An answer, if something was asked."""
        match request:
            case GetBlocks(number, references):
                asked = {reference.digest for reference in references}
                known = [block.block for block in self.world.blocks() if block.digest in asked]
                own = [block for block in self.signed.values() if block_digest(NETWORK, block.content) in asked]
                return Blocks(number, tuple([*own, *known, *self._blocks(1)][: self.chance.randrange(4)]))
            case GetCommits(number, first):
                return Commits(number, tuple(self._commits(first)))
            case AskOwn(incarnation):
                return OwnNewest(
                    self.chance.choice((incarnation, incarnation, 7)), self.chance.choice((None, *self._blocks(1)))
                )
            case Subscribe():
                return OwnBlocks(tuple(self._blocks(3)))
            case None if self.said and self.chance.random() < 0.2:
                return self.chance.choice(self.said)
            case None:
                self.said.append(self._refuse_unasked())
                return self.said[-1]

    def _refuse_unasked(self) -> Message | bytes:
        kind = self.chance.choices(range(10), (60, 4, 4, 4, 4, 4, 4, 4, 4, 4))[0]
        (block,) = self._blocks(1)
        number = self.chance.choice((0, 1, 2, 5, FAR))
        first = self.chance.choice((0, 1, len(self.world.commits), FAR))
        match kind:
            case 0:
                return BlockMessage(block)
            case 1:
                return Subscribe(self.chance.choice((0, 1, 2**40)), self.chance.random() < 0.5)
            case 2:
                return GetBlocks(number, tuple(self._reference() for _ in range(self.chance.randint(1, 64))))
            case 3:
                return GetCommits(number, first)
            case 4:
                return AskOwn(number)
            case 5:
                return OwnBlocks(tuple(self._blocks(3)))
            case 6:
                return OwnNewest(number, block)
            case 7:
                return Blocks(number, (block,))
            case 8:
                return Commits(number, tuple(self._commits(1)))
            case _:
                data = bytearray(encode(BlockMessage(block)))
                data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
                return bytes(data[: self.chance.choice((len(data), len(data), 20))])

    def _blocks(self, count: int) -> list[Block]:
        return [self._block() for _ in range(count)]

    def _block(self) -> Block:
        author = self.chance.choice(LIARS)
        lowest, highest = self.view
        near = self.chance.randint(max(2, lowest), max(2, lowest, highest))
        number = self.chance.choice((1, *[near] * 12, highest + 40, 2**40))
        if self.is_careful and (author, number) in self.signed:
            return self.signed[author, number]
        block = self.signed[author, number] = self._made(author, number)
        return block

    def _made(self, author: int, number: int) -> Block:
        parents = {reference.author: reference for reference in self._round(number - 1)}
        for _ in range(self.chance.choice((0, 0, 1, 1, 2, 3))):
            name = self._name(number, self.chance.choice((author, VICTIM, *LIARS, *LIARS, 1)))
            parents[name.author] = name
        if number == 1 and self.chance.random() < 0.9:
            parents = {reference.author: reference for reference in FORGE.genesis}
        more: dict[str, object] = {"commit": self._mark(), "time_ms": self.chance.choice((0, START_MS, FAR))}
        if self.chance.random() < 0.3:
            more["checkpoint"] = Checkpoint(*self.chance.choice((self._mark(), self._mark())).__reduce__()[1][:2], STATE)
        if self.chance.random() < 0.3:
            more |= {"items": (item(),), "attachments": (attachment(self.chance.choice("abcd")),)}
        if author not in parents:
            parents[author] = self._name(number, author)
        return FORGE.block(author, number, own_first(author, parents.values()), **more).block

    def _round(self, number: int) -> list[Reference]:
        """Blocks of a round, or inventions where there is none."""
        if 1 <= number <= len(self.world.rounds):
            return [block.reference for block in self.world.rounds[number - 1]]
        return [Reference(max(0, number), author, bytes([author]) * 32) for author in range(SIZE)]

    def _name(self, number: int, author: int) -> Reference:
        """True, or by another round or author, or of a block that nobody has."""
        lowest = max(0, number - RULES.gc_depth)
        known = self.chance.choice(self.chance.choice(self.world.rounds[max(0, lowest - 1) : number] or self.world.rounds))
        own = block_digest(NETWORK, self.chance.choice([*self.signed.values(), known.block]).content)
        digest = self.chance.choice((b"u" * 32, b"v" * 32, known.digest, known.digest, own))
        return Reference(self.chance.randint(lowest, max(lowest, number - 1)), author, digest)

    def _reference(self) -> Reference:
        return self.chance.choice(self.chance.choice(self.world.rounds)).reference

    def _mark(self) -> CommitMark:
        place = self.chance.randrange(len(self.world.digests))
        true = CommitMark(place + 1, self.world.digests[place])
        return self.chance.choice(
            (true, true, CommitMark(place + 1, b"f" * 32), CommitMark(FAR, b"f" * 32), CommitMark(0, genesis_step(NETWORK)))
        )

    def _commits(self, first: int) -> list[CommitRecord]:
        start = max(0, first - 1 + self.chance.choice((0, 0, 0, 0, 1, -1, 7)))
        records = list(self.world.commits[start : start + self.chance.choice((0, 1, 3, 64))])
        if records and self.chance.random() < 0.7:
            place = self.chance.choice((0, len(records) - 1, self.chance.randrange(len(records))))
            records[place] = self._bent(records[place])
        if records and self.chance.random() < 0.2:
            records.append(records[0])
        return records[:64]

    def _bent(self, record: CommitRecord) -> CommitRecord:
        outsider = Reference(record.leader.round, 199, b"x" * 32)
        far = Reference(2**40, 5, b"y" * 32)
        change: dict[str, object] = self.chance.choice(
            (
                {"time_ms": FAR},
                {"index": FAR},
                {"previous": bytes(32)},
                {"leader": outsider},
                {"leader": far},
                {"references": (outsider,)},
                {"references": (far, *record.references)},
                {"references": tuple(Reference(1, 1, place.to_bytes(32, "big")) for place in range(500))},
                {"references": ()},
            )
        )
        return msgspec.structs.replace(record, **change)
