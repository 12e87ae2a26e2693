"""Headers that are not proven, or have nothing behind them, move no honest peer to stop leading, to finalise, or to halt."""

from functools import cache

import pytest
from msgspec import structs

from consensus.effects import Effect, Finalise, Halt, Offence, Record, SolvePuzzle, StopPuzzle, VerifyPuzzle
from consensus.encoding import encode
from consensus.proof_of_work import block_tree
from consensus.proof_of_work.machine import SYNC_TIMER
from consensus.proof_of_work.messages import MESSAGE_CODEC, BlockMessage, Blocks, GetHeaders, Headers, Tip
from consensus.proof_of_work.puzzle import is_solved
from consensus.proof_of_work.records import block_key
from consensus.proof_of_work.unverified_headers import PUSHED_PER_OUTSIDER_MAX
from consensus.protocol import Offered, PeerJoined, PeerLeft, PuzzleVerified, TimerFired
from consensus.types import Height, Instant, PeerId
from tests.consensus.proof_of_work.bench import OTHER, PEER, Bench, of_type, refusals, sent
from tests.consensus.proof_of_work.forge import RULES, START_MS, Forge, Forged, person, state_after
from tests.consensus.proof_of_work.network import Network, Node, Records

FORGE = Forge()
ALICE, MALLORY = person("alice"), person("mallory")
HARD = structs.replace(RULES, start_attempts=2**40)
PUZZLE_MS = 16


def tip_of(forged: Forged) -> Tip:
    return Tip(forged.id, forged.link.height, forged.link.work.to_bytes(40, "big"))


def later(bench: Bench, delay_ms: int) -> tuple[Effect, ...]:
    bench.now = Instant(bench.now + delay_ms)
    return bench.feed(TimerFired(SYNC_TIMER))


class Leading:
    """Whether a bench is working on a puzzle, and for how long it was."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.is_working = False
        self.worked_ms = 0
        head = bench.machine.status.head
        self.note(bench.feed(Offered(head, (), b"", state_after(head))))

    def note(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, SolvePuzzle | StopPuzzle):
                self.is_working = isinstance(effect, SolvePuzzle)

    def pass_time(self, duration_ms: int, step_ms: int = 500) -> None:
        for _ in range(duration_ms // step_ms):
            self.note(later(self.bench, step_ms))
            self.worked_ms += step_ms * self.is_working


# --- headers without work -------------------------------------------------------------------------------------------


def workless(count: int, name: str) -> tuple[Forged, ...]:
    """A branch on genesis that looks right: signed, with the right targets and times, and no work in it."""
    forge, who = Forge(HARD), person(name)
    made: list[Forged] = []
    for _ in range(count):
        parent = made[-1].link if made else forge.genesis
        body = forge.body(parent)
        made.append(forge.forged(parent, forge.seal(forge.draft(parent, who, body), body, who, is_solved=False)))
    return tuple(made)


def test_workless_headers_far_above_the_head_stop_nobody_from_leading() -> None:
    bench = Bench(HARD, verifies=False, is_leading=True)
    leading = Leading(bench)
    leading.pass_time(11_000)
    for forged in workless(9, "mallory"):
        leading.note(bench.receive(BlockMessage(forged.block)))
    leading.pass_time(5_000)
    assert leading.worked_ms == 16_000
    assert bench.machine.status.sync_target == 0


@pytest.mark.parametrize("group", [b"", b"192.0.2.0/24"])
def test_a_flood_of_fresh_keys_neither_stops_leading_nor_takes_much_of_a_core(group: bytes) -> None:
    """Nine workless headers from each of three new keys a second: each puzzle takes 16 ms of one core, one after the other."""
    rules = structs.replace(HARD, puzzle_memory_kib=8)
    bench = Bench(rules, verifies=False, is_leading=True)
    leading = Leading(bench)
    leading.pass_time(11_000)
    leading.worked_ms = verified = refused = 0
    queue: list[VerifyPuzzle] = []
    for third_of_a_second in range(90):
        key = person(f"key {third_of_a_second}")
        effects = bench.feed(PeerJoined(key.id, group) if group else PeerJoined(key.id))
        for forged in workless(9, f"key {third_of_a_second}"):
            effects += bench.receive(BlockMessage(forged.block), key.id)
        queue += of_type(effects, VerifyPuzzle)
        for _ in range(333 // PUZZLE_MS):
            if queue:
                job = queue.pop(0)
                verified += 1
                answer = PuzzleVerified(job.step, is_solved(job.prefix, job.nonce, job.target, rules.puzzle_memory_kib))
                more = bench.feed(answer)
                queue += of_type(more, VerifyPuzzle)
                refused += len(refusals(more))
                leading.note(more)
        leading.note(effects)
        leading.pass_time(333, 333)
    assert leading.worked_ms >= 0.95 * 90 * 333
    assert verified <= 90 + 16
    assert refused == 90


def test_what_only_a_refused_peer_has_brought_is_not_verified() -> None:
    bench = Bench(HARD, verifies=False)
    effects = ()
    for forged in workless(9, "mallory"):
        effects += bench.receive(BlockMessage(forged.block))
    (first,) = of_type(effects, VerifyPuzzle)
    after = bench.feed(PuzzleVerified(first.step, is_solved=False))
    assert refusals(after) == [(PEER.id, Offence.WRONG_PUZZLE)]
    assert of_type(after + later(bench, 10_000), VerifyPuzzle) == []


def test_a_header_that_others_have_sent_too_outlives_the_peer_that_sent_it_first() -> None:
    bench = Bench(verifies=False)
    first, second = FORGE.branch(FORGE.genesis, ALICE, 2)
    (asked,) = of_type(bench.push(first, second), VerifyPuzzle)
    bench.push(first, peer=OTHER.id)
    bench.feed(PeerLeft(PEER.id))
    bench.feed(PuzzleVerified(asked.step, is_solved=True))
    assert bench.machine.status.height == 1
    assert of_type(bench.push(second, peer=OTHER.id), VerifyPuzzle) != []  # only the first had a second source


@pytest.mark.parametrize(("proven", "taken"), [(0, PUSHED_PER_OUTSIDER_MAX), (1, 30)])
def test_of_who_has_shown_nothing_yet_few_pushed_blocks_wait(proven: int, taken: int) -> None:
    bench = Bench(verifies=False)
    chain = FORGE.branch(FORGE.genesis, ALICE, proven + 30)
    for forged in chain[:proven]:
        bench.push(forged)
        bench.feed(PuzzleVerified(forged.id, is_solved=True))
    asked = of_type(bench.push(*chain[proven:]), VerifyPuzzle)
    bench.verifies = True
    for one in asked:
        bench.feed(PuzzleVerified(one.step, is_solved=True))
    assert bench.machine.status.height == proven + taken


# --- headers without bodies -----------------------------------------------------------------------------------------


def show_headers(bench: Bench, branch: tuple[Forged, ...], peer: bytes = PEER.id) -> tuple[Effect, ...]:
    """As a peer that claims the branch, answers with its headers, and keeps the bodies."""
    effects = bench.receive(tip_of(branch[-1]), peer)
    while asked := sent(effects, GetHeaders):
        known = max((place.height for place in asked[-1][1].locator if place.height <= len(branch)), default=0)
        effects = bench.receive(Headers(tuple(forged.block.header for forged in branch[known : known + 128])), peer)
    return effects


def worked_ms_beside_bodiless_headers() -> int:
    """Of the two minutes after nine headers whose bodies nobody gives."""
    bench = Bench(is_leading=True)
    leading = Leading(bench)
    leading.pass_time(11_000)
    leading.note(show_headers(bench, FORGE.branch(FORGE.genesis, MALLORY, 9)))
    leading.worked_ms = 0
    leading.pass_time(120_000)
    return leading.worked_ms


def test_a_lead_of_nine_headers_without_bodies_stops_leading_for_thirty_seconds_at_most() -> None:
    assert worked_ms_beside_bodiless_headers() >= 90_000


def test_a_body_that_comes_after_all_brings_its_branch_back() -> None:
    bench = Bench(is_leading=True)
    leading = Leading(bench)
    leading.pass_time(11_000)
    branch = FORGE.branch(FORGE.genesis, MALLORY, 9)
    show_headers(bench, branch)
    leading.pass_time(60_000)
    bench.push(*branch, peer=OTHER.id)
    assert bench.machine.status.height == 9


# --- a newcomer and one liar ----------------------------------------------------------------------------------------


def test_a_newcomer_makes_nothing_final_while_a_peer_shows_it_a_heavier_chain() -> None:
    bench = Bench()
    cheap = FORGE.branch(FORGE.genesis, MALLORY, 30)
    honest = FORGE.branch(FORGE.genesis, ALICE, 60)
    effects = bench.push(*cheap)
    assert bench.machine.status.height == 30
    effects += bench.receive(tip_of(honest[-1]), OTHER.id)
    bench.now = Instant(bench.now + 4_000)
    effects += bench.receive(Headers(tuple(forged.block.header for forged in honest)), OTHER.id)
    effects += later(bench, 20_000)
    assert of_type(effects, Finalise) == []
    effects += bench.push(*honest, peer=OTHER.id)
    assert bench.machine.status.height == 60
    assert [effect.step for effect in of_type(effects + later(bench, 10_000), Finalise)][-1] == honest[47].id
    assert of_type(effects, Halt) == []


class Withholding(Network):
    """One peer shows the headers of its branch, and answers no request for bodies."""

    liar = person("liar").id

    def _deliver(self, sender: Node, peer: PeerId, message: bytes) -> None:
        if sender.who.id != self.liar or not isinstance(MESSAGE_CODEC.decode(message), Blocks):
            super()._deliver(sender, peer, message)


def records_of(branch: tuple[Forged, ...], final_height: int) -> Records:
    """What a peer has recorded that has checked all of the branch."""
    records = Records()
    for forged in branch:
        records.write(Record("block", block_key(forged.link.height, forged.id), encode(forged.block)))
        records.write(Record("verdict", forged.id, b"good"))
    if final_height > 0:
        records.write(Record("final", b"final", block_key(Height(final_height), branch[final_height - 1].id)))
    return records


@cache
def long_chain(length: int) -> tuple[Forged, ...]:
    return FORGE.branch(FORGE.genesis, ALICE, length)


def sync_ms(liar_headers: int, *, is_first: bool, length: int = 1_250) -> int:
    """How many milliseconds a newcomer takes to come up to a chain, with one liar among its eight peers."""
    network = Withholding(RULES)
    network.now = Instant(network.now + 1_000 * length)
    records = records_of(long_chain(length), length - RULES.finality_depth)
    servers = [network.add(f"server {index}", is_leading=False, records=records) for index in range(7)]
    cheap = records_of(FORGE.branch(FORGE.genesis, MALLORY, liar_headers), 0) if liar_headers else Records()
    liar = network.add("liar", is_leading=False, records=cheap)
    newcomer = network.add("newcomer", is_leading=False)
    began = network.now
    for server in [liar, *servers] if is_first else [*servers, liar]:
        network.connect(newcomer, server)
    while newcomer.machine.status.height < length:
        assert network.now < began + 200_000, f"stands at {newcomer.machine.status.height}"
        assert newcomer.halted is None, newcomer.halted
        network.run(100)
    return network.now - began


@cache
def control_ms() -> int:
    return sync_ms(0, is_first=True)


@pytest.mark.slow
@pytest.mark.parametrize(("liar_headers", "is_first"), [(60, True), (300, False), (320, True), (1_024, True)])
def test_one_liar_with_cheap_headers_neither_halts_a_newcomer_nor_costs_it_half_of_its_time(
    liar_headers: int, is_first: bool
) -> None:
    assert sync_ms(liar_headers, is_first=is_first) <= 1.5 * control_ms()


def test_a_tree_full_of_cheap_blocks_keeps_no_newcomer_from_a_chain_that_is_heavier_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Blocks dated half-lives apart cost one attempt after a while, and outweigh the first blocks of any honest chain."""
    monkeypatch.setattr(block_tree, "TREE_BLOCKS_MAX", 64)
    rules = structs.replace(RULES, start_attempts=16)
    forge = Forge(rules)
    honest = forge.branch(forge.genesis, ALICE, 60)
    cheap: list[Forged] = []
    for _ in range(8):
        parent = cheap[-1].link if cheap else forge.genesis
        cheap.append(forge.child(parent, MALLORY, time_ms=(parent.time_ms or START_MS) + rules.half_life_ms))
    siblings = [forge.child(cheap[-1].link, MALLORY, claim=bytes([number])) for number in range(60)]
    bench = Bench(rules)
    later(bench, 1_000_000)
    bench.push(*cheap, *siblings)
    assert bench.machine.status.height == 9
    effects = bench.receive(tip_of(honest[-1]), OTHER.id)
    effects += bench.receive(Headers(tuple(forged.block.header for forged in honest)), OTHER.id)
    for _ in range(10):
        effects += later(bench, 500)
    assert bench.machine.status.sync_target == 60
    bench.push(*honest, peer=OTHER.id)
    assert bench.machine.status.head == honest[-1].id
