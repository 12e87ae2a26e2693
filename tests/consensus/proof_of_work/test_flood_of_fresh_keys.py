"""A flood of contributions by throw-away keys, in counted costs: what honest contributions cost beside it, and who pays."""

import hashlib
from dataclasses import dataclass, field

import msgspec
import pytest
from msgspec import structs

from consensus.effects import Assess, Broadcast, Effect, Offence, Refuse, SolvePuzzle
from consensus.proof_of_work.mempool import (
    ASSESSED_BURST,
    ASSESSED_PER_SECOND,
    QUEUED_PER_SOURCE_MAX,
    UNDER_WAY_MAX,
    AssessmentQueue,
)
from consensus.proof_of_work.messages import ContributionMessage
from consensus.proof_of_work.peers import FALSE_CONTRIBUTIONS_BURST
from consensus.protocol import Assessed, Checked, Offered, PeerJoined, Received, Submitted, TimerFired
from consensus.steps import Contribution, Verdict, is_authentic, sign_contribution
from consensus.types import Digest, Instant, PeerId, StepId
from tests.consensus.proof_of_work.bench import OTHER, PEER, Bench, of_type, refusals
from tests.consensus.proof_of_work.forge import NETWORK, RULES, Forge, Forged, Person, person, state_after

ALICE, BOB = person("alice"), person("bob")
OUTSIDERS = tuple(person(f"outsider {number}") for number in range(8))
LIE, TRUTH = b"lie", b"truth"


def offer(author: Person, base: StepId, payload: bytes) -> Contribution:
    return sign_contribution(NETWORK, author.id, base, payload, author.sign)


@dataclass
class Victim:
    """A machine with a learner that measures one contribution at a time: what begins with LIE is one."""

    bench: Bench = field(default_factory=Bench)
    measured: list[Contribution] = field(default_factory=list)
    refused: list[tuple[PeerId, Offence]] = field(default_factory=list)

    def hear(self, source: Person, contribution: Contribution) -> None:
        self._carry_out(self.bench.receive(ContributionMessage(contribution), source.id))

    def join(self, *sources: Person) -> None:
        for source in sources:
            self.bench.feed(PeerJoined(source.id))

    def later(self, milliseconds: int) -> None:
        self.bench.now = Instant(self.bench.now + milliseconds)

    def _carry_out(self, effects: tuple[Effect, ...]) -> None:
        waiting = list(effects)
        while waiting:
            effect = waiting.pop(0)
            if isinstance(effect, Refuse):
                self.refused.append((effect.peer, effect.offence))
            if isinstance(effect, Assess):
                self.measured.append(effect.contribution)
                waiting += self.bench.feed(self._answer(effect))

    @staticmethod
    def _answer(asked: Assess) -> Assessed:
        if asked.contribution.payload.startswith(LIE):
            return Assessed(asked.digest, Verdict.CONTESTED, is_useful=False, detail="measured less")
        return Assessed(asked.digest, Verdict.GOOD, is_useful=True, detail="")


def fresh_key(number: int) -> Person:
    return person(hashlib.blake2b(b"%d" % number).hexdigest())


def test_keys_that_led_nothing_cost_no_measurement_and_no_honest_contribution_waits_for_them() -> None:
    victim, forge = Victim(), Forge()
    (block,) = forge.branch(forge.genesis, ALICE, 1)
    victim.bench.push(block)
    victim.join(*OUTSIDERS, BOB)
    for second in range(10):
        for outsider, source in enumerate(OUTSIDERS):
            for number in range(25):
                author = fresh_key((second * 8 + outsider) * 25 + number)
                victim.hear(source, offer(author, block.id, LIE))
        victim.hear(BOB, offer(ALICE, block.id, TRUTH + bytes([second])))
        victim.later(1_000)
    assert [one.payload[:5] for one in victim.measured] == [TRUTH] * 10


def test_a_lie_spends_the_voice_that_a_block_has_bought_until_the_next_block() -> None:
    victim, forge = Victim(), Forge()
    first = forge.child(forge.genesis, ALICE)
    victim.bench.push(first)
    for number in range(5):
        victim.hear(PEER, offer(ALICE, first.id, LIE + bytes([number])))
    assert [one.payload for one in victim.measured] == [LIE + b"\0"]
    second = forge.child(first.link, BOB)
    victim.bench.push(second)
    victim.hear(PEER, offer(ALICE, second.id, TRUTH))
    assert len(victim.measured) == 1
    third = forge.child(second.link, ALICE)
    victim.bench.push(third)
    victim.hear(PEER, offer(ALICE, third.id, TRUTH))
    assert [one.payload for one in victim.measured] == [LIE + b"\0", TRUTH]


def test_lies_that_are_waiting_when_their_author_is_found_out_are_not_measured() -> None:
    """They came in one burst, before the learner had answered for the first: only what it was asked already counts."""
    bench, forge = Bench(), Forge()
    (block,) = forge.branch(forge.genesis, ALICE, 1)
    bench.push(block)
    burst = [bench.receive(ContributionMessage(offer(ALICE, block.id, LIE + bytes([number])))) for number in range(30)]
    asked = [effect for effects in burst for effect in effects if isinstance(effect, Assess)]
    assert len(asked) == UNDER_WAY_MAX
    answer = Assessed(asked[0].digest, Verdict.CONTESTED, is_useful=False, detail="measured less")
    assert not [effect for effect in bench.feed(answer) if isinstance(effect, Assess)]


def test_the_learner_is_asked_for_each_source_in_its_turn() -> None:
    """One source has filled its queue before another sends one contribution: that is the second to be assessed after it."""
    bench, forge = Bench(), Forge()
    blocks = (first := forge.child(forge.genesis, ALICE), second := forge.child(first.link, BOB))
    bench.push(*blocks)
    asked: list[Assess] = []
    for number in range(30):
        asked += of_type(bench.receive(ContributionMessage(offer(ALICE, second.id, bytes([number])))), Assess)
    bench.receive(ContributionMessage(offer(BOB, second.id, TRUTH)), OTHER.id)
    for place in range(3):
        asked += of_type(bench.feed(good(asked[place])), Assess)
    assert asked[UNDER_WAY_MAX + 1].contribution.payload == TRUTH


def test_a_flood_by_keys_that_have_led_is_paced_and_honest_contributions_have_their_turn(monkeypatch) -> None:
    """Eight liars that led a block each say what is of no use to anybody, true or not, so that their voices are never spent."""
    signatures = counted(monkeypatch)
    bench, forge = Bench(), Forge()
    leaders = (ALICE, *OUTSIDERS)
    blocks = [forge.child(forge.genesis, ALICE)]
    for leader in (*OUTSIDERS, *[ALICE] * (MINUTE_BLOCKS - len(OUTSIDERS))):
        blocks.append(forge.child(blocks[-1].link, leader))
    for outsider in OUTSIDERS:
        bench.feed(PeerJoined(outsider.id))
    asked: list[Assess] = []
    for number, block in enumerate(blocks):
        asked += settled(bench, bench.push(block))
        for place in range(32 if number >= len(leaders) else 0):
            for outsider in OUTSIDERS:
                useless = offer(outsider, block.id, LIE + place.to_bytes(2, "big"))
                asked += settled(bench, bench.receive(ContributionMessage(useless), outsider.id))
        asked += settled(bench, bench.receive(ContributionMessage(offer(ALICE, block.id, TRUTH)), OTHER.id))
        bench.now = Instant(bench.now + 1_000)
        asked += settled(bench, bench.feed(TimerFired("sync")))
    honest = [one for one in asked if one.contribution.payload == TRUTH]
    assert len(honest) == len(blocks)
    assert len(asked) - len(honest) <= ASSESSED_BURST + ASSESSED_PER_SECOND * len(blocks)
    assert len(asked) - len(honest) >= ASSESSED_PER_SECOND * (len(blocks) - len(leaders) - 2), "the flood has come"
    assert len(signatures) <= len(asked) + QUEUED_PER_SOURCE_MAX * len(OUTSIDERS)


MINUTE_BLOCKS = 30


@pytest.mark.slow
def test_no_honest_peer_is_refused_for_what_liars_with_a_voice_feed_it_to_pass_on() -> None:
    """Each of theirs is a little better than the one before, so all are passed on, as fast as a learner is asked for them."""
    relay, hearer, forge = Bench(), Bench(), Forge()
    for outsider in OUTSIDERS:
        relay.feed(PeerJoined(outsider.id))
    hearer.feed(PeerJoined(relay.me.id))
    blocks = [forge.child(forge.genesis, OUTSIDERS[0])]
    for number in range(1, 80):
        blocks.append(forge.child(blocks[-1].link, OUTSIDERS[number % len(OUTSIDERS)]))
    refused: list[Refuse] = []
    passed_on = 0
    for number, block in enumerate(blocks):
        for bench in (relay, hearer):
            all_good(bench, bench.push(block))
        for place in range(100):
            liar = OUTSIDERS[place % len(OUTSIDERS)]
            better = offer(liar, block.id, (number * 100 + place).to_bytes(4, "big"))
            for message in all_good(relay, relay.receive(ContributionMessage(better), liar.id)):
                passed_on += 1
                effects = hearer.feed(Received(relay.me.id, message))
                refused += of_type(effects, Refuse)
                all_good(hearer, effects)
            for bench in (relay, hearer):
                bench.now = Instant(bench.now + 5)
    assert (passed_on > ASSESSED_PER_SECOND * len(blocks) // 3, refused) == (True, [])


def all_good(bench: Bench, effects: tuple[Effect, ...]) -> list[bytes]:
    """What is passed on when the learner finds each of use."""
    waiting, messages = list(effects), []
    while waiting:
        effect = waiting.pop(0)
        if isinstance(effect, Assess):
            waiting += bench.feed(good(effect))
        elif isinstance(effect, Broadcast):
            messages.append(effect.message)
    return messages


def settled(bench: Bench, effects: tuple[Effect, ...]) -> list[Assess]:
    """What the learner was asked: the honest is good, all else of no use and nobody's fault."""
    asked: list[Assess] = []
    waiting = of_type(effects, Assess)
    while waiting:
        one = waiting.pop(0)
        asked.append(one)
        is_honest = one.contribution.payload == TRUTH
        answer = good(one) if is_honest else Assessed(one.digest, Verdict.CONTESTED, is_useful=False, detail="")
        waiting += of_type(bench.feed(answer), Assess)
    return asked


def counted(monkeypatch) -> list[Contribution]:
    """The contributions whose signatures are verified from now on."""
    verified: list[Contribution] = []

    def count(network_id, contribution) -> bool:
        verified.append(contribution)
        return is_authentic(network_id, contribution)

    monkeypatch.setattr("consensus.proof_of_work.contribution_relay.is_authentic", count)
    return verified


def test_of_one_source_the_best_claim_is_assessed_first() -> None:
    assessing = AssessmentQueue(rank=lambda payload: payload[0])
    for payload in (b"\x01", b"\x05", b"\x03", b"\x05again"):
        assessing.add(Digest(payload.ljust(32)), offer(ALICE, StepId(bytes(32)), payload), PEER.id)
    asked = assessing.start(lambda digest: True, Instant(1_000_000))
    assert [one.contribution.payload for one in asked] == [b"\x05", b"\x05again", b"\x03", b"\x01"]


def test_a_full_queue_of_a_source_drops_its_own_worst_claim() -> None:
    assessing = AssessmentQueue(rank=lambda payload: payload[0])
    contribution = offer(ALICE, StepId(bytes(32)), b"\x01")
    gone = [assessing.add(digest(number), contribution, PEER.id) for number in range(QUEUED_PER_SOURCE_MAX + 1)]
    assert gone == [None] * QUEUED_PER_SOURCE_MAX + [digest(QUEUED_PER_SOURCE_MAX)]
    best = offer(ALICE, StepId(bytes(32)), b"\x09")
    assert assessing.add(digest(1_000), best, PEER.id) == digest(QUEUED_PER_SOURCE_MAX - 1)
    assert assessing.add(digest(1_001), contribution, OTHER.id) is None


def test_a_newcomer_offers_its_find_in_its_own_block_and_tells_it_to_others_once_it_has_led_one() -> None:
    bench, forge = Bench(is_leading=True), Forge()
    before = told(bench, bench.machine.status.head)
    bench.push(block := forge.child(forge.genesis, bench.me))
    assert (before, told(bench, block.id)) == (0, 1)


def told(bench: Bench, base: StepId) -> int:
    """How often a find of ours is told to others; it may be listed in our own block in any case."""
    (asked,) = of_type(bench.feed(Submitted(base, TRUTH)), Assess)
    effects = bench.feed(good(asked))
    offered = bench.feed(Offered(base, (asked.digest,), b"", state_after(base, (asked.contribution,))))
    assert len(of_type(offered, SolvePuzzle)) == 1
    return len(of_type(effects, Broadcast))


def test_who_passes_on_one_claim_at_the_edge_of_the_tolerance_after_the_other_is_refused() -> None:
    """Each of another leader, so each costs a block; no honest peer is so credulous so often."""
    authors = [person(f"leader {number}") for number in range(FALSE_CONTRIBUTIONS_BURST + 1)]
    victim, forge = Victim(), Forge()
    made = [forge.child(forge.genesis, authors[0])]
    for author in authors[1:]:
        made.append(forge.child(made[-1].link, author))
    victim.bench.push(*made)
    for author in authors:
        assert victim.refused == []
        victim.hear(PEER, offer(author, made[-1].id, LIE))
    assert victim.refused == [(PEER.id, Offence.FALSE_CLAIM)]


def with_a_second_block_unchecked() -> tuple[Bench, Forged, Forged]:
    """One that has checked a block, and not yet the one on it."""
    bench, forge = Bench(), Forge()
    first = forge.child(forge.genesis, ALICE)
    bench.push(first)
    bench.judge = None
    second = forge.child(first.link, BOB)
    bench.push(second)
    return bench, first, second


def test_a_contribution_for_an_unchecked_block_costs_no_signature_check_unless_its_author_has_a_voice(monkeypatch) -> None:
    verified = counted(monkeypatch)
    bench, first, second = with_a_second_block_unchecked()
    for base in (first.id, second.id, StepId(b"x" * 32)):
        for number in range(20):
            bench.receive(ContributionMessage(offer(fresh_key(number), base, LIE)))
    bench.receive(ContributionMessage(honest := offer(ALICE, second.id, TRUTH)))
    assert verified == []
    effects = bench.feed(Checked(second.id, Verdict.GOOD, is_proven_lie=False, detail=""))
    assert (verified, [one.contribution for one in of_type(effects, Assess)]) == ([honest], [honest])


def test_who_has_us_hold_what_others_did_not_sign_is_refused_at_the_first_of_it(monkeypatch) -> None:
    bench, _, second = with_a_second_block_unchecked()
    for number in range(20):
        forged = msgspec.structs.replace(offer(ALICE, second.id, TRUTH), payload=bytes([number]))
        bench.receive(ContributionMessage(forged), OTHER.id)
    verified = counted(monkeypatch)
    effects = bench.feed(Checked(second.id, Verdict.GOOD, is_proven_lie=False, detail=""))
    assert (refusals(effects), len(verified)) == ([(OTHER.id, Offence.WRONG_SIGNATURE)], 1)


def test_a_forged_copy_that_comes_first_keeps_no_contribution_out() -> None:
    """Both wait for the check of their base; the forged one costs its sender the connection, and that is all."""
    bench, _, second = with_a_second_block_unchecked()
    honest = offer(ALICE, second.id, TRUTH)
    bench.receive(ContributionMessage(msgspec.structs.replace(honest, signature=bytes(64))), OTHER.id)
    for _ in range(2):
        bench.receive(ContributionMessage(honest))
    effects = bench.feed(Checked(second.id, Verdict.GOOD, is_proven_lie=False, detail=""))
    assert refusals(effects) == [(OTHER.id, Offence.WRONG_SIGNATURE)]
    assert [one.contribution for one in of_type(effects, Assess)] == [honest]


def test_a_voice_ends_with_the_window_and_survives_a_restart() -> None:
    rules = structs.replace(RULES, author_window=20)
    bench, forge = Bench(rules), Forge(rules)
    blocks = (forge.child(forge.genesis, ALICE), *forge.branch(forge.child(forge.genesis, ALICE).link, BOB, 19))
    bench.push(*blocks)
    again = Bench(rules, records=bench.records)
    for made in (bench, again):
        assert made.machine.status.height == 20
        assert of_type(made.receive(ContributionMessage(offer(ALICE, blocks[18].id, TRUTH))), Assess)
        assert of_type(made.receive(ContributionMessage(offer(ALICE, blocks[19].id, TRUTH))), Assess)
    last = forge.child(blocks[-1].link, BOB)
    again.push(last)
    assert not of_type(again.receive(ContributionMessage(offer(ALICE, last.id, TRUTH))), Assess)


def good(asked: Assess) -> Assessed:
    return Assessed(asked.digest, Verdict.GOOD, is_useful=True, detail="")


def digest(number: int) -> Digest:
    return Digest(number.to_bytes(32, "big"))
