"""Blocks that an outsider relays first, while fresh keys use up all that outsiders may have verified."""

import pytest

from consensus.effects import Effect, PassOver, VerifyPuzzle
from consensus.proof_of_work import puzzle_budgets as verifying
from consensus.proof_of_work.header import header_id
from consensus.proof_of_work.machine import SYNC_TIMER
from consensus.proof_of_work.messages import BlockMessage, Headers
from consensus.proof_of_work.unverified_headers import VERIFY_IN_FLIGHT_MAX
from consensus.protocol import PeerJoined, PeerLeft, PuzzleVerified, TimerFired
from consensus.types import Instant, StepId
from node.lab.checkers.bounds import sizes_of
from tests.consensus.proof_of_work.bench import OTHER, PEER, Bench, of_type
from tests.consensus.proof_of_work.forge import NETWORK, Forge, Person, person

FORGE = Forge()
CHAIN = FORGE.branch(FORGE.genesis, person("alice"), 14)
PROVEN = 4
"""So much of it is known before the attack."""

RELAY, SECOND_RELAY = person("relay"), person("second relay")
PUZZLE_US = 16_000
"""Of 8 MiB, as in a real network."""


class UnderAttack:
    """A machine whose puzzles take as long as real ones, and eight fresh keys a second of each of two subnets."""

    def __init__(self, *, honest: str = "trusted") -> None:
        self.bench = Bench(verifies=False)
        self.workless: set[StepId] = set()
        self.keys = 0
        self.work(self.bench.push(*CHAIN[:PROVEN], peer=PEER.id if honest == "trusted" else OTHER.id))
        for _ in range(80):
            self.eighth_of_a_second()

    def work(self, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Verify what is to be verified."""
        shown = list(effects)
        for effect in shown:
            if isinstance(effect, VerifyPuzzle):
                shown += self.bench.feed(PuzzleVerified(effect.step, effect.step not in self.workless))
        return tuple(shown)

    def join(self, peer: Person, group: bytes) -> None:
        self.work(self.bench.feed(PeerJoined(peer.id, group)))

    def push(self, number: int, peer: Person) -> tuple[Effect, ...]:
        return self.work(self.bench.push(CHAIN[number], peer=peer.id))

    def eighth_of_a_second(self) -> tuple[Effect, ...]:
        self.bench.now = Instant(self.bench.now + 125)
        effects = self.work(self.bench.feed(TimerFired(SYNC_TIMER)))
        for group in (b"one net", b"another net"):
            self.keys += 1
            key = person(f"fresh {self.keys}")
            self.join(key, group)
            parent = CHAIN[self.height - 1].link
            body = FORGE.body(parent, claim=b"%d" % self.keys)
            block = FORGE.seal(FORGE.draft(parent, key, body), body, key, is_solved=False)
            self.workless.add(header_id(NETWORK, block.header))
            effects += self.work(self.bench.receive(BlockMessage(block), key.id))
        return effects

    @property
    def staged(self) -> int:
        """Headers that wait to be verified."""
        return sizes_of(self.bench.machine)["UnverifiedHeaders._staged"]

    @property
    def height(self) -> int:
        return self.bench.machine.status.height


@pytest.fixture(autouse=True)
def real_puzzles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "PUZZLE_US_MIN", PUZZLE_US)


def test_the_outsiders_budget_is_used_up() -> None:
    attack = UnderAttack()
    attack.join(RELAY, b"one net")
    attack.push(PROVEN, RELAY)
    for _ in range(8):
        attack.eighth_of_a_second()
    assert attack.height == PROVEN
    assert attack.staged > VERIFY_IN_FLIGHT_MAX


def test_a_block_that_an_outsider_relayed_first_is_verified_as_soon_as_a_known_peer_sends_it() -> None:
    attack = UnderAttack()
    attack.join(RELAY, b"one net")
    for number in range(PROVEN, len(CHAIN)):
        attack.push(number, RELAY)
        attack.push(number, PEER)
        assert attack.height == number + 1


def test_whoever_sends_what_builds_on_it_will_do_as_well() -> None:
    """Its own copy of the parent may have come too late to be taken in."""
    attack = UnderAttack()
    attack.join(RELAY, b"one net")
    attack.join(SECOND_RELAY, b"another net")
    attack.push(PROVEN, RELAY)
    attack.push(PROVEN + 1, SECOND_RELAY)
    attack.push(PROVEN + 2, PEER)
    assert attack.height == PROVEN + 3


def test_headers_that_a_known_peer_was_asked_for_will_do_as_well() -> None:
    attack = UnderAttack()
    attack.join(RELAY, b"one net")
    attack.push(PROVEN, RELAY)
    attack.work(attack.bench.receive(Headers((CHAIN[PROVEN].block.header,)), PEER.id))
    assert attack.height == PROVEN + 1


def test_an_outsider_of_a_subnet_that_has_used_little_comes_before_those_of_one_that_has_used_much() -> None:
    attack = UnderAttack(honest="unknown yet")
    honest = person("an honest newcomer")
    attack.join(RELAY, b"one net")
    attack.join(honest, b"a quiet net")
    attack.push(PROVEN, RELAY)
    attack.push(PROVEN, honest)
    for _ in range(4):
        attack.eighth_of_a_second()
    assert attack.height == PROVEN + 1


def test_what_waits_for_an_outsider_s_turn_may_be_brought_by_another() -> None:
    attack = UnderAttack()
    attack.join(RELAY, b"one net")
    assert PassOver() in attack.push(PROVEN, RELAY)
    assert PassOver() not in attack.push(PROVEN, PEER)


def test_it_outlives_whoever_has_taken_it_over() -> None:
    attack = UnderAttack()
    attack.join(RELAY, b"one net")
    attack.join(SECOND_RELAY, b"a quiet net")
    attack.push(PROVEN, RELAY)
    attack.bench.push(CHAIN[PROVEN], peer=SECOND_RELAY.id)
    staged = attack.staged
    attack.bench.feed(PeerLeft(SECOND_RELAY.id))
    assert attack.staged == staged


def test_who_is_known_has_no_part_in_the_outsiders_queue() -> None:
    attack = UnderAttack()
    (asked,) = of_type(attack.bench.push(CHAIN[PROVEN], peer=PEER.id), VerifyPuzzle)
    assert asked.step == CHAIN[PROVEN].id
