"""No bytes of a peer end a machine of proof of work, or grow it beyond its bounds: liars say all that can be decoded.

They have keys and a little work. Puzzles, checks and assessments are answered late and in any order; the machine restarts.
"""

import functools
import random
from dataclasses import replace

import msgspec
import pytest

from consensus.effects import (
    Assess,
    Check,
    Effect,
    FetchAttachment,
    Halt,
    Record,
    Refuse,
    Send,
    SetTimer,
    SolvePuzzle,
    VerifyPuzzle,
)
from consensus.encoding import encode
from consensus.proof_of_work.header import Block, Header
from consensus.proof_of_work.machine import ProofOfWork
from consensus.proof_of_work.messages import (
    MESSAGE_CODEC,
    BlockMessage,
    Blocks,
    ContributionMessage,
    GetBlocks,
    GetHeaders,
    Headers,
    Message,
    Place,
    Tip,
)
from consensus.proof_of_work.packed_headers import WORK_BYTES
from consensus.proof_of_work.puzzle import is_solved
from consensus.protocol import (
    Assessed,
    AttachmentHeld,
    Checked,
    Input,
    PeerJoined,
    PeerLeft,
    PuzzleSolved,
    PuzzleVerified,
    Received,
    TimerFired,
)
from consensus.steps import Attachment, Contribution, Verdict, contribution_digest, sign_contribution
from consensus.types import Digest, Instant, StepId
from node.lab.checkers.bounds import Scale, declared_bounds, sizes_of
from tests.consensus.proof_of_work.forge import NETWORK, RULES, START_MS, Forge, Forged, person
from tests.consensus.proof_of_work.network import Records

FAR = 2**63 - 1
LENGTH = 40
LEADER, LIARS = person("leader"), (person("liar"), person("other liar"))
ME = person("me")
FORGE = Forge()


@functools.cache
def chains() -> tuple[tuple[Forged, ...], ...]:
    """The honest chain, and branches from several heights, some of which are longer."""
    main = FORGE.branch(FORGE.genesis, LEADER, LENGTH)
    branches = [FORGE.branch(main[at].link, LIARS[0], length, claim=bytes([at])) for at, length in ((0, 3), (20, 25), (30, 4))]
    return main, *branches, FORGE.branch(FORGE.genesis, LIARS[1], 12, claim=b"from below")


class Ordeal:
    """One machine, and what becomes of its effects."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = START_MS + 1_000_000
        self.records = Records()
        self.is_leading = seed % 2 == 0
        self.is_over = False
        self.refused = 0
        self.front = self.chance.choice((0, 10, LENGTH))
        self.boot()

    def boot(self) -> None:
        self.machine = ProofOfWork(
            rules=RULES,
            network_id=NETWORK,
            identity=ME.id,
            sign=ME.sign,
            seed=b"",
            records=self.records.rows(),
            archive=self.records,
            is_leading=self.is_leading,
        )
        self.timers: dict[str, int] = {}
        self.open: list[Effect] = []
        self.owed: list[GetHeaders | GetBlocks] = []
        self.carry_out(self.machine.start(Instant(self.now)))
        self.peers: dict[bytes, None] = {}
        for who in (LEADER, *LIARS):
            self.join(who.id)

    def join(self, peer: bytes) -> None:
        self.peers[peer] = None
        self.feed(PeerJoined(peer))  # type: ignore[arg-type]

    def feed(self, event: Input) -> None:
        self.carry_out(self.machine.handle(event, Instant(self.now)))

    def carry_out(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Record():
                    self.records.write(effect)
                case SetTimer(name, at):
                    self.timers[name] = at
                case Refuse(peer):
                    self.peers.pop(peer, None)
                    self.refused += 1
                case Send(peer, message) if peer == LEADER.id:
                    request = MESSAGE_CODEC.decode(message)
                    if isinstance(request, GetHeaders | GetBlocks):
                        self.owed.append(request)
                case Halt():
                    self.is_over = True
                case VerifyPuzzle() | Check() | Assess() | FetchAttachment() | SolvePuzzle():
                    self.open.append(effect)
                case _:
                    pass

    def step(self) -> None:
        acts = (self.honest_word, self.lie, self.answer, self.pass_time, self.links, self.restart)
        self.chance.choices(acts, (20, 45, 40, 12, 2, 1))[0]()

    def honest_word(self) -> None:
        """What it owes, or its next block."""
        if self.owed:
            self.say(LEADER.id, truth(self.owed.pop(self.chance.randrange(len(self.owed)))))
        elif self.front < LENGTH:
            self.front += 1
            newest = chains()[0][self.front - 1]
            self.say(LEADER.id, BlockMessage(newest.block))
            self.say(LEADER.id, Tip(newest.id, self.front, newest.link.work.to_bytes(WORK_BYTES, "big")))

    def lie(self) -> None:
        who = self.chance.choice(LIARS)
        if who.id not in self.peers:
            self.join(who.id)
        self.say(who.id, false_word(self.chance))

    def say(self, peer: bytes, message: Message | bytes) -> None:
        data = message if isinstance(message, bytes) else encode(message)
        if peer in self.peers:
            self.feed(Received(peer, data))  # type: ignore[arg-type]

    def answer(self) -> None:
        if not self.open:
            return
        effect = self.open.pop(self.chance.randrange(len(self.open)))
        verdict = self.chance.choice((Verdict.GOOD, Verdict.CONTESTED, Verdict.INVALID))
        match effect:
            case VerifyPuzzle(step, prefix, nonce, target):
                self.feed(PuzzleVerified(step, is_solved(prefix, nonce, target, RULES.puzzle_memory_kib)))
            case Check(step):
                is_honest = step.id in {forged.id for forged in chains()[0]}
                self.feed(Checked(step.id, Verdict.GOOD if is_honest else verdict, False, ""))
            case Assess(digest):
                self.feed(Assessed(digest, verdict, self.chance.random() < 0.5, ""))
            case FetchAttachment(digest):
                self.feed(AttachmentHeld(digest))
            case SolvePuzzle(prefix) if self.chance.random() < 0.2:
                self.feed(PuzzleSolved(prefix, 0))
            case _:
                pass

    def pass_time(self) -> None:
        self.now += self.chance.choice((1, 50, 500, 3_000, 30_000))
        for name in [name for name, at in self.timers.items() if at <= self.now]:
            del self.timers[name]
            self.feed(TimerFired(name))

    def links(self) -> None:
        peer = self.chance.choice((LEADER, *LIARS)).id
        if peer in self.peers:
            del self.peers[peer]
            self.feed(PeerLeft(peer))
        else:
            self.join(peer)

    def restart(self) -> None:
        self.boot()


def truth(request: GetHeaders | GetBlocks) -> Message:
    main = chains()[0]
    match request:
        case GetHeaders(locator):
            known = {forged.id: place for place, forged in enumerate(main, start=1)}
            above = next((known[StepId(place.id)] for place in locator if place.id in known), 0)
            return Headers(tuple(forged.block.header for forged in main[above:]))
        case GetBlocks(places):
            wanted = {place.id for place in places}
            return Blocks(tuple(forged.block for forged in main if forged.id in wanted))


def a_block(chance: random.Random) -> Forged:
    return chance.choice(chance.choice(chains()))


def bent_header(chance: random.Random) -> Header:
    """One field is another's, or nonsense; sometimes signed again by a liar."""
    header, other = a_block(chance).block.header, a_block(chance).block.header
    field = chance.choice(("parent", "height", "time_ms", "leader", "target", "body", "nonce", "signature"))
    value = chance.choice((getattr(other, field), FAR if field in {"height", "time_ms"} else getattr(other, field)))
    return msgspec.structs.replace(header, **{field: value})


def bent_block(chance: random.Random) -> Block:
    forged = a_block(chance)
    return chance.choice(
        (
            Block(bent_header(chance), forged.block.body),
            Block(forged.block.header, a_block(chance).block.body),
            FORGE.child(forged.link, chance.choice(LIARS), contributions=(contribution(chance), contribution(chance))).block,
            unsolved(forged, time_ms=chance.choice((0, START_MS, FAR))),
            unsolved(forged, target=chance.choice((0, 1, 2**256 - 1))),
            forged.block,
        )
    )


def unsolved(parent: Forged, **changes: object) -> Block:
    body = FORGE.body(parent.link)
    draft = replace(FORGE.draft(parent.link, LIARS[0], body), **changes)  # type: ignore[arg-type]
    return FORGE.seal(draft, body, LIARS[0], is_solved=False)


def contribution(chance: random.Random) -> Contribution:
    who = chance.choice(LIARS)
    large = tuple(Attachment(bytes([number]) * 32, chance.choice((0, 1, FAR))) for number in range(chance.randrange(3)))
    made = sign_contribution(NETWORK, who.id, a_block(chance).id, bytes([chance.randrange(9)]), who.sign, attachments=large)
    return made if chance.random() < 0.8 else msgspec.structs.replace(made, signature=bytes(64))


def false_word(chance: random.Random) -> Message | bytes:
    mixed = [a_block(chance).block.header for _ in range(chance.randrange(5))] + [bent_header(chance)] * chance.randrange(2)
    run = [forged.block.header for forged in chance.choice(chains())]
    start = chance.randrange(len(run))
    heights = (0, 1, chance.randrange(2 * LENGTH), FAR)
    ids = (a_block(chance).id, bytes(32))
    places = tuple(Place(chance.choice(heights), chance.choice(ids)) for _ in range(1 + chance.randrange(4)))
    words: tuple[Message | bytes, ...] = (
        BlockMessage(bent_block(chance)),
        ContributionMessage(contribution(chance)),
        Tip(chance.choice(places).id, chance.choice(heights), chance.choice((bytes(WORK_BYTES), b"\xff" * WORK_BYTES))),
        GetHeaders(places),
        Headers(tuple(mixed)),
        Headers(tuple(run[start:])),
        Headers(tuple(reversed(run[start:]))),
        GetBlocks(places),
        Blocks(tuple(bent_block(chance) for _ in range(chance.randrange(4)))),
        encode(BlockMessage(bent_block(chance)))[: chance.randrange(400)],
    )
    return chance.choice(words)


def assert_bounded(machine: ProofOfWork) -> None:
    bounds = declared_bounds(Scale(peers=3, gc_depth=0, height=2 * LENGTH))
    sizes = sizes_of(machine)  # type: ignore[arg-type]  # looks into any object of these rooms
    assert {name for name in sizes if name not in bounds} == set()
    assert {name: size for name, size in sizes.items() if size > bounds[name]} == {}


@pytest.mark.parametrize("seed", range(16))
def test_whatever_liars_send_nothing_raises_and_nothing_grows_without_bound(seed: int) -> None:
    trial = Ordeal(seed)
    for number in range(250):
        if trial.is_over:  # more work than half of it: a heavier branch from below the final block
            break
        trial.step()
        if number % 50 == 0:
            assert_bounded(trial.machine)
    assert_bounded(trial.machine)


@pytest.mark.slow
def test_the_histories_reach_final_blocks_and_refusals() -> None:
    """Else they would show nothing."""
    trials = [Ordeal(seed) for seed in range(100, 106)]
    for trial in trials:
        for _ in range(250):
            trial.step()
    assert max(trial.machine.status.final_height for trial in trials) > 0
    assert all(trial.refused > 0 for trial in trials)


def test_what_liars_say_is_of_every_kind() -> None:
    chance = random.Random(0)
    kinds = {type(false_word(chance)) for _ in range(200)}
    assert kinds == {BlockMessage, ContributionMessage, Tip, GetHeaders, Headers, GetBlocks, Blocks, bytes}
    assert contribution_digest(NETWORK, contribution(chance)) != Digest(bytes(32))
