"""Contributions and blocks with large payloads: nothing is judged before its payloads are held."""

from collections import Counter

import pytest
from msgspec import structs

from consensus.effects import Adopt, Assess, Broadcast, Check, Effect, FetchAttachment, Offence, Record, SolvePuzzle
from consensus.encoding import encode
from consensus.payload_requests import COOLING_MS, FETCHES_MAX, FETCHES_PER_PEER_MAX, REST_MS, STALLED_ATTEMPTS
from consensus.proof_of_work.block_download import BODIES_WAITING_MAX
from consensus.proof_of_work.block_tree import BlockIndex
from consensus.proof_of_work.header import BLOCK_BYTES_MAX, HEADER_BYTES_MAX, Block, fits
from consensus.proof_of_work.initial_sync import ARRIVAL_MS_MIN
from consensus.proof_of_work.machine import SYNC_TIMER
from consensus.proof_of_work.mempool import LACKING_PER_AUTHOR_MAX, LACKING_PER_SOURCE_MAX
from consensus.proof_of_work.messages import (
    HEADERS_MAX,
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
from consensus.proof_of_work.rules import CONTRIBUTIONS_MAX
from consensus.protocol import (
    Assessed,
    AttachmentHeld,
    Checked,
    FetchFailed,
    Offered,
    PeerJoined,
    PuzzleSolved,
    Submitted,
    TimerFired,
)
from consensus.steps import Attachment, Contribution, Verdict, contribution_digest, sign_contribution
from consensus.types import Digest, Instant, PeerId, StepId
from tests.consensus.proof_of_work import forge
from tests.consensus.proof_of_work.bench import OTHER, PEER, Bench, accusations, of_type, refusals, sent
from tests.consensus.proof_of_work.forge import NETWORK, Forge, Forged, Person, person, state_after
from tests.consensus.proof_of_work.network import Network, Node, large, submit

FORGE = Forge()
ALICE = person("alice")
GENESIS = FORGE.genesis.id
RULES = structs.replace(forge.RULES, author_window=0)
"""Anybody is heard: nobody here leads a block before it contributes."""

AGED = structs.replace(RULES, base_age_max=4)
QUICK = structs.replace(RULES, start_attempts=4, base_age_max=8)


def named(name: str, length: int = 100_000) -> Attachment:
    attachment = large(name, length)
    return Attachment(attachment.digest, attachment.length)


def digest_of(name: str) -> Digest:
    return large(name).digest


def gradient(*names: str, base: StepId = GENESIS, who: Person = ALICE) -> Contribution:
    attachments = tuple(named(name) for name in names)
    return sign_contribution(NETWORK, who.id, base, "+".join(names).encode(), who.sign, attachments=attachments)


def heavy(parent: BlockIndex, *names: str, claim: bytes = b"") -> Forged:
    """A block that lists one gradient for each name."""
    contributions = tuple(gradient(name, base=parent.id) for name in names)
    return FORGE.child(parent, ALICE, contributions=contributions, claim=claim)


def heavy_branch(length: int, claim: bytes = b"") -> tuple[Forged, ...]:
    made: list[Forged] = []
    for height in range(length):
        made.append(heavy(made[-1].link if made else FORGE.genesis, f"{height}/{claim.decode()}", claim=claim))
    return tuple(made)


def fetches(effects: tuple[Effect, ...]) -> list[tuple[Digest, bytes]]:
    return [(fetch.digest, fetch.peer) for fetch in of_type(effects, FetchAttachment)]


def failed(bench: Bench, asked: list[tuple[Digest, bytes]]) -> list[tuple[Digest, bytes]]:
    """None of them gives it; what is asked for then, and once they may be asked again."""
    effects: tuple[Effect, ...] = ()
    for digest, peer in asked:
        effects += bench.feed(FetchFailed(digest, PeerId(peer)))
    return fetches(effects + later(bench, COOLING_MS))


def checked(effects: tuple[Effect, ...]) -> list[StepId]:
    return [check.step.id for check in of_type(effects, Check)]


def later(bench: Bench, delay_ms: int) -> tuple[Effect, ...]:
    bench.now = Instant(bench.now + delay_ms)
    return bench.feed(TimerFired(SYNC_TIMER))


# --- contributions --------------------------------------------------------------------------------------------------


def test_a_contribution_is_assessed_only_once_its_payload_is_held() -> None:
    bench = Bench(RULES)
    contribution = gradient("g")
    effects = bench.receive(ContributionMessage(contribution))
    assert effects == (FetchAttachment(digest_of("g"), 100_000, PEER.id),)
    assert bench.machine.status.payloads_wanted == 1
    effects = bench.feed(AttachmentHeld(digest_of("g")))
    assert effects == (Assess(contribution_digest(NETWORK, contribution), contribution),)
    assert bench.machine.status.payloads_wanted == 0


def test_a_block_that_names_large_payloads_of_who_has_led_none_is_broken_and_nothing_is_fetched() -> None:
    """Bob leads the second block. Of a window of two, that is himself and who led the first."""
    rules = structs.replace(RULES, author_window=2, base_age_max=4)
    first = FORGE.child(FORGE.genesis, ALICE)
    of_alice = gradient("a", base=first.link.id)
    of_carol = gradient("c", base=first.link.id, who=person("carol"))
    bob = person("bob")
    bench = Bench(rules)
    bench.push(first)
    effects = bench.push(FORGE.child(first.link, bob, contributions=(of_alice, of_carol)))
    assert fetches(effects) == []
    assert accusations(effects) == [(bob.id, Offence.WRONG_BODY)]
    effects = bench.push(FORGE.child(first.link, bob, contributions=(of_alice,)), peer=OTHER.id)
    assert fetches(effects) == [(digest_of("a"), OTHER.id)]


def test_who_has_led_no_block_of_the_window_makes_nobody_fetch_anything() -> None:
    bench = Bench(structs.replace(RULES, author_window=2, base_age_max=4))
    assert bench.receive(ContributionMessage(gradient("g"))) == ()
    blocks = [FORGE.child(FORGE.genesis, ALICE)]
    for _ in range(2):
        blocks.append(FORGE.child(blocks[-1].link, person("bob")))
    bench.push(blocks[0])
    base = blocks[0].link.id
    assert fetches(bench.receive(ContributionMessage(gradient("h", base=base)))) == [(digest_of("h"), PEER.id)]
    bench.push(*blocks[1:])
    late = gradient("i", base=blocks[-1].link.id)
    assert bench.receive(ContributionMessage(late)) == ()
    assert len(fetches(bench.receive(ContributionMessage(gradient("j", base=base))))) == 1, "the window ends at the base"


def test_a_contribution_with_two_payloads_waits_for_both() -> None:
    bench = Bench(RULES)
    assert len(fetches(bench.receive(ContributionMessage(gradient("g", "h"))))) == 2
    assert bench.feed(AttachmentHeld(digest_of("h"))) == ()
    assert len(of_type(bench.feed(AttachmentHeld(digest_of("g"))), Assess)) == 1


def test_a_contribution_whose_payload_is_held_is_assessed_at_once() -> None:
    bench = Bench(RULES)
    bench.receive(ContributionMessage(gradient("g")))
    bench.feed(AttachmentHeld(digest_of("g")))
    other = gradient("g", who=person("bob"))
    assert [type(effect) for effect in bench.receive(ContributionMessage(other))] == [Assess]


def test_nothing_is_believed_held_that_was_not_asked_for_since() -> None:
    bench = Bench(RULES)
    bench.receive(ContributionMessage(gradient("g")))
    bench.feed(AttachmentHeld(digest_of("g")))
    bench.held.clear()
    other = gradient("g", who=person("bob"))
    assert fetches(bench.receive(ContributionMessage(other))) == [(digest_of("g"), PEER.id)]


def test_payloads_are_released_with_the_last_that_names_them_and_those_of_final_blocks_are_kept() -> None:
    bench = Bench(RULES)
    listed, dropped = gradient("listed"), gradient("dropped", who=person("bob"))
    for contribution in (listed, dropped):
        bench.receive(ContributionMessage(contribution))
        bench.feed(AttachmentHeld(digest_of(contribution.payload.decode())))
    block = FORGE.child(FORGE.genesis, ALICE, contributions=(listed,))
    branch = (block, *FORGE.branch(block.link, ALICE, 3))
    bench.push(*branch)
    assert bench.released == [(digest_of("dropped"), False)]
    later(bench, ARRIVAL_MS_MIN)
    bench.push(*FORGE.branch(branch[-1].link, ALICE, 20))
    assert bench.released == [(digest_of("dropped"), False), (digest_of("listed"), True)]


def test_our_own_contribution_names_its_payloads_which_are_not_fetched() -> None:
    bench = Bench(RULES)
    (assess,) = bench.feed(Submitted(GENESIS, b"gradient", (large("g"),)))
    assert isinstance(assess, Assess)
    assert assess.contribution.attachments == (named("g"),)
    (passed_on,) = bench.feed(Assessed(assess.digest, Verdict.GOOD, is_useful=True, detail=""))
    assert passed_on == Broadcast(encode(ContributionMessage(assess.contribution)))
    assert fetches(bench.push(FORGE.child(FORGE.genesis, ALICE, contributions=(assess.contribution,)))) == []


def test_a_payload_that_does_not_come_is_asked_of_who_else_has_sent_the_contribution() -> None:
    bench = Bench(RULES)
    third = person("third")
    bench.feed(PeerJoined(third.id))
    message = ContributionMessage(gradient("g"))
    assert fetches(bench.receive(message)) == [(digest_of("g"), PEER.id)]
    assert bench.receive(message, third.id) == ()
    assert fetches(later(bench, 60_000)) == []
    assert failed(bench, [(digest_of("g"), PEER.id)]) == [(digest_of("g"), third.id)]
    assert failed(bench, [(digest_of("g"), third.id)]) == [(digest_of("g"), OTHER.id)]
    assert failed(bench, [(digest_of("g"), OTHER.id)]) == []
    assert fetches(later(bench, REST_MS)) == [(digest_of("g"), third.id)], "the first has kept silent for a minute"


def test_a_changed_attachment_is_not_what_the_author_signed() -> None:
    contribution = gradient("g")
    for attachments in ((), (named("h"),), (named("g", 99_999),), (named("g"), named("h"))):
        forged = Contribution(ALICE.id, contribution.base, contribution.payload, attachments, contribution.signature)
        assert refusals(Bench(RULES).receive(ContributionMessage(forged))) == [(PEER.id, Offence.WRONG_SIGNATURE)]


def test_what_one_author_and_what_one_source_makes_us_wait_for_is_bounded() -> None:
    bench = Bench(RULES)
    for number in range(20):
        bench.receive(ContributionMessage(gradient(f"alice {number}")))
    assert bench.machine.status.pool_size == LACKING_PER_AUTHOR_MAX
    for number in range(100):
        bench.receive(ContributionMessage(gradient(f"{number}", who=person(f"author {number}"))))
    assert bench.machine.status.pool_size == LACKING_PER_SOURCE_MAX
    bench.receive(ContributionMessage(gradient("honest", who=person("honest"))), OTHER.id)
    assert bench.machine.status.pool_size == LACKING_PER_SOURCE_MAX + 1


def test_a_contribution_that_still_waits_is_dropped_with_its_base() -> None:
    bench = Bench(RULES)
    bench.receive(ContributionMessage(gradient("g")))
    bench.push(*FORGE.branch(FORGE.genesis, ALICE, 3))
    assert (bench.machine.status.pool_size, bench.machine.status.payloads_wanted) == (0, 0)
    assert failed(bench, [(digest_of("g"), PEER.id)]) == []
    assert bench.feed(AttachmentHeld(digest_of("g"))) == ()


def test_a_payload_that_comes_after_the_base_has_left_the_tree_ends_nobody_and_is_not_assessed() -> None:
    """With a low finality depth a contribution outlives its base, a rival of what has become final, until the head moves."""
    rules = structs.replace(AGED, finality_depth=4, contest_depth=3, author_window=64)
    bench, made = Bench(rules), Forge(rules)
    main = made.branch(made.genesis, ALICE, 9)
    side = made.child(main[2].link, person("bob"))
    bench.push(*main[:4], side)
    bench.receive(ContributionMessage(gradient("late", base=side.id)))
    for forged in main[4:]:
        bench.push(forged)
        bench.now = Instant(bench.now + ARRIVAL_MS_MIN)
        if bench.machine.status.final_height == 4:
            break
    assert bench.machine.status.pool_size == 1, "the base has left the tree, and the contribution is still there"
    assert of_type(bench.feed(AttachmentHeld(digest_of("late"))), Assess) == []


def test_a_contribution_for_a_block_that_waits_for_its_payload_waits_with_it() -> None:
    bench = Bench(RULES)
    block = heavy(FORGE.genesis, "g")
    contribution = gradient("h", base=block.id)
    bench.push(block)
    assert bench.receive(ContributionMessage(contribution)) == ()
    effects = bench.feed(AttachmentHeld(digest_of("g")))
    assert fetches(effects + later(bench, 1)) == [(digest_of("h"), PEER.id)]
    assert [assess.contribution for assess in of_type(bench.feed(AttachmentHeld(digest_of("h"))), Assess)] == [contribution]


# --- blocks ---------------------------------------------------------------------------------------------------------


def test_a_block_waits_for_its_payloads_and_is_then_passed_on_recorded_and_checked() -> None:
    bench = Bench(RULES)
    block = heavy(FORGE.genesis, "g", "h")
    effects = bench.push(block)
    assert fetches(effects) == [(digest_of("g"), PEER.id), (digest_of("h"), PEER.id)]
    assert (of_type(effects, Broadcast), of_type(effects, Record), checked(effects)) == ([], [], [])
    assert bench.feed(AttachmentHeld(digest_of("g"))) == ()
    effects = bench.feed(AttachmentHeld(digest_of("h")))
    assert effects[0] == Broadcast(encode(BlockMessage(block.block)))
    assert isinstance(effects[1], Record)
    assert checked(effects) == [block.id]
    assert of_type(effects, Adopt) == [Adopt(block.id, block.link.height)]


def test_a_block_of_contributions_that_we_know_is_checked_at_once() -> None:
    bench = Bench(RULES)
    bench.receive(ContributionMessage(gradient("g")))
    bench.feed(AttachmentHeld(digest_of("g")))
    assert checked(bench.push(heavy(FORGE.genesis, "g"))) != []


def test_children_are_checked_after_their_parents_in_whatever_order_the_payloads_come() -> None:
    branch = heavy_branch(3)
    names = [f"{height}/" for height in range(3)]
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)):
        bench = Bench(RULES)
        bench.push(*branch)
        effects: tuple[Effect, ...] = ()
        for index in order:
            effects += bench.feed(AttachmentHeld(digest_of(names[index])))
        assert checked(effects) == [forged.id for forged in branch]
        assert bench.machine.status.head == branch[-1].id


def test_a_light_child_waits_for_the_payload_of_its_parent() -> None:
    bench = Bench(RULES)
    parent = heavy(FORGE.genesis, "g")
    child = FORGE.child(parent.link, ALICE)
    bench.push(parent)
    assert checked(bench.push(child)) == []
    assert checked(bench.feed(AttachmentHeld(digest_of("g")))) == [parent.id, child.id]


def test_a_withheld_payload_is_asked_of_others_and_keeps_no_other_branch_back() -> None:
    bench = Bench(RULES)
    withheld = heavy_branch(4, claim=b"withheld")
    honest = heavy_branch(3, claim=b"honest")
    asked = fetches(bench.push(*withheld))
    assert [peer for _, peer in asked] == [PEER.id] * 4
    bench.push(*honest, peer=OTHER.id)
    for height in range(3):
        bench.feed(AttachmentHeld(digest_of(f"{height}/honest")))
    assert bench.machine.status.head == honest[-1].id
    assert [peer for _, peer in failed(bench, asked)] == [OTHER.id] * 4
    later(bench, ARRIVAL_MS_MIN)
    bench.push(*FORGE.branch(honest[-1].link, ALICE, 20))
    assert bench.machine.status.payloads_wanted == 0
    assert bench.machine.status.height == 23


def test_an_invalid_block_takes_what_waits_on_top_of_it_along() -> None:
    bench = Bench(RULES, judge=None)
    parent = FORGE.child(FORGE.genesis, ALICE)
    bench.push(parent, heavy(parent.link, "g"))
    assert bench.machine.status.payloads_wanted == 1
    bench.feed(Checked(parent.id, Verdict.INVALID, is_proven_lie=False, detail=""))
    assert bench.machine.status.payloads_wanted == 0
    assert bench.feed(AttachmentHeld(digest_of("g"))) == ()


def test_a_full_block_with_payloads_fits_and_an_offer_that_does_not_fit_is_ignored() -> None:
    typical = tuple(
        sign_contribution(
            NETWORK,
            ALICE.id,
            GENESIS,
            bytes([number]) * 212,
            ALICE.sign,
            attachments=(named("g", 1 << 30), named("h", 1 << 30)),
        )
        for number in range(CONTRIBUTIONS_MAX)
    )
    full = FORGE.child(FORGE.genesis, ALICE, contributions=typical, claim=bytes(256))
    assert len(encode(full.block)) <= BLOCK_BYTES_MAX
    assert fits(full.block.body)
    light_bytes = len(encode(full.block)) - len(encode(full.block.body))
    assert light_bytes <= HEADER_BYTES_MAX
    bench = Bench(RULES, is_leading=True, judge=None)
    digests = []
    for number in range(10):
        (assess,) = bench.feed(Submitted(GENESIS, bytes([number]) * 4_096))
        bench.feed(Assessed(assess.digest, Verdict.GOOD, is_useful=True, detail=""))
        digests.append(assess.digest)
    assert bench.feed(Offered(GENESIS, tuple(digests), b"", state_after(GENESIS))) == ()
    assert len(of_type(bench.feed(Offered(GENESIS, tuple(digests[:7]), b"", state_after(GENESIS))), SolvePuzzle)) == 1


def test_outsiders_that_relay_blocks_first_and_keep_their_payloads_hold_up_one_block_and_not_each() -> None:
    """Eight that were here before the honest peer, each silent for as long as it may be."""
    bench = Bench(RULES)
    outsiders = [person(f"silent {number}") for number in range(8)]
    late = person("late")
    for peer in (*outsiders, late):
        bench.feed(PeerJoined(peer.id))
    waits: list[int] = []
    for number, block in enumerate(heavy_branch(12)):
        began, silences = bench.now, 0
        asked = fetches(bench.push(block, peer=outsiders[number % 8].id))
        while bench.machine.status.height <= number:
            (digest, peer), *more = asked
            if peer == late.id:
                asked = more + fetches(bench.feed(AttachmentHeld(digest)))
            else:
                silences += peer not in (PEER.id, OTHER.id)
                bench.now = Instant(bench.now + (min(5_000, 500 << silences) if peer not in (PEER.id, OTHER.id) else 50))
                asked = more + failed(bench, [(digest, peer)])
        waits.append(bench.now - began)
    assert waits[0] > 20_000, "each of them has had its turn"
    assert max(waits[1:]) == 0


# --- older bases ----------------------------------------------------------------------------------------------------


def old_gradient_block(depth: int) -> tuple[tuple[Forged, ...], Block]:
    """A trunk of `depth` blocks, and a block on it that lists a gradient on genesis."""
    trunk = FORGE.branch(FORGE.genesis, ALICE, depth)
    return trunk, FORGE.child(trunk[-1].link, ALICE, contributions=(gradient("g"),)).block


def test_a_listed_contribution_on_an_older_base_is_a_fault_unless_the_rules_allow_it() -> None:
    trunk, block = old_gradient_block(1)
    for rules, expected in ((RULES, [(PEER.id, Offence.WRONG_BASE)]), (AGED, [])):
        bench = Bench(rules)
        bench.push(*trunk)
        effects = bench.receive(BlockMessage(block))
        assert refusals(effects) == expected
        assert accusations(effects) == [(ALICE.id, offence) for _, offence in expected]
        assert bool(fetches(effects)) is (rules is AGED)


def test_contributions_are_kept_down_to_the_oldest_base_that_the_rules_allow_and_two_blocks_more() -> None:
    trunk = FORGE.branch(FORGE.genesis, ALICE, 8)
    for rules, kept in ((RULES, 2), (AGED, 6)):
        bench = Bench(rules)
        bench.receive(ContributionMessage(gradient(base=GENESIS)))
        sizes = []
        for forged in trunk:
            bench.push(forged)
            sizes.append(bench.machine.status.pool_size)
        assert sizes == [1] * kept + [0] * (8 - kept)
        oldest, too_old = trunk[7 - kept], trunk[6 - kept]
        assert len(of_type(bench.receive(ContributionMessage(gradient(base=oldest.id))), Assess)) == 1
        assert bench.receive(ContributionMessage(gradient(base=too_old.id))) == ()


def test_an_older_contribution_is_listed_in_a_block_of_ours_only_where_the_rules_allow_it() -> None:
    block = FORGE.child(FORGE.genesis, ALICE)
    for rules, puzzles in ((RULES, 0), (AGED, 1)):
        bench = Bench(rules, is_leading=True)
        (assess,) = of_type(bench.feed(Submitted(GENESIS, b"gradient", (large("g"),))), Assess)
        bench.feed(Assessed(assess.digest, Verdict.GOOD, is_useful=True, detail=""))
        bench.push(block)
        offer = Offered(block.id, (assess.digest,), b"", state_after(block.id, (assess.contribution,)))
        found = of_type(bench.feed(offer), SolvePuzzle)
        assert len(found) == puzzles
        for puzzle in found:
            effects = bench.feed(PuzzleSolved(puzzle.prefix, 7))
            assert [type(effect) for effect in effects[:3]] == [Record, Broadcast, Check]
            assert of_type(effects, Check)[0].step.contributions == (assess.contribution,)


# --- syncing --------------------------------------------------------------------------------------------------------

WIDE = tuple(f"wide {number}" for number in range(20))


class Server:
    """A peer that answers for one branch: all but the payloads."""

    def __init__(self, who: Person, branch: tuple[Forged, ...]) -> None:
        self.who = who
        self.branch = branch

    def tell(self, bench: Bench) -> tuple[Effect, ...]:
        link = self.branch[-1].link
        return self.answer(bench, bench.receive(Tip(link.id, link.height, link.work.to_bytes(40, "big")), self.who.id))

    def answer(self, bench: Bench, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Answer what is asked for in these effects, and in what follows; all effects."""
        new = effects
        while new:
            asked = [*sent(new, GetHeaders), *sent(new, GetBlocks)]
            new = ()
            for message in [message for to, message in asked if to == self.who.id]:
                new += bench.receive(self._answer_to(message), self.who.id)
            effects += new
        return effects

    def _answer_to(self, request: Message) -> Headers | Blocks:
        if isinstance(request, GetHeaders):
            heights = [place.height for place in request.locator if self._has(place)]
            first = max(heights, default=0)
            return Headers(tuple(forged.block.header for forged in self.branch[first : first + HEADERS_MAX]))
        assert isinstance(request, GetBlocks)
        return Blocks(tuple(self.branch[place.height - 1].block for place in request.places if self._has(place)))

    def _has(self, place: Place) -> bool:
        return 0 < place.height <= len(self.branch) and self.branch[place.height - 1].id == place.id


def test_payloads_of_a_branch_that_is_synced_are_asked_for_a_few_at_a_time() -> None:
    bench = Bench(RULES)
    first = FORGE.child(FORGE.genesis, ALICE, contributions=tuple(gradient(name) for name in WIDE))
    second = FORGE.child(first.link, ALICE, contributions=tuple(gradient(f"2 {name}", base=first.id) for name in WIDE))
    third = FORGE.child(second.link, ALICE, contributions=tuple(gradient(f"3 {name}", base=second.id) for name in WIDE))
    effects = Server(PEER, (first, second, third)).tell(bench)
    under_way = fetches(effects)
    assert Counter(peer for _, peer in under_way) == {PEER.id: FETCHES_PER_PEER_MAX, OTHER.id: FETCHES_PER_PEER_MAX}
    assert len(under_way) <= FETCHES_MAX
    order: list[StepId] = []
    while under_way:
        digest, _ = under_way.pop(0)
        effects = bench.feed(AttachmentHeld(digest))
        order.extend(checked(effects))
        under_way.extend(fetches(effects))
        assert len(under_way) <= 2 * FETCHES_PER_PEER_MAX
    assert order == [first.id, second.id, third.id]
    assert bench.machine.status.head == third.id


EACH_HEAVY = heavy_branch(BODIES_WAITING_MAX, claim=b"withheld")
FIRST_HEAVY = (EACH_HEAVY[0], *FORGE.branch(EACH_HEAVY[0].link, ALICE, BODIES_WAITING_MAX - 1))


@pytest.mark.parametrize(("branch", "wanted"), [(EACH_HEAVY, BODIES_WAITING_MAX), (FIRST_HEAVY, 1)])
def test_a_branch_of_more_work_without_payloads_keeps_nobody_from_syncing_another_nor_from_leading(
    branch: tuple[Forged, ...], wanted: int
) -> None:
    bench = Bench(structs.replace(RULES, finality_depth=512), is_leading=True)
    liar = Server(PEER, branch)
    honest = Server(OTHER, FORGE.branch(FORGE.genesis, person("bob"), 20))
    under_way = fetches(liar.tell(bench))
    honest.tell(bench)
    assert (bench.machine.status.payloads_wanted, bench.machine.status.height) == (wanted, 0)
    rounds = BODIES_WAITING_MAX * STALLED_ATTEMPTS // (2 * FETCHES_PER_PEER_MAX)
    for _ in range(rounds + 2):
        effects: tuple[Effect, ...] = ()
        for digest, peer in under_way:
            effects += bench.feed(FetchFailed(digest, PeerId(peer)))
        effects += later(bench, REST_MS)
        under_way = fetches(effects)
        assert len(under_way) <= 2 * FETCHES_PER_PEER_MAX
        honest.answer(bench, liar.answer(bench, effects))
    assert bench.machine.status.head == honest.branch[-1].id
    offer = Offered(honest.branch[-1].id, (), b"", state_after(honest.branch[-1].id))
    assert len(of_type(bench.feed(offer), SolvePuzzle)) == 1


# --- a network ------------------------------------------------------------------------------------------------------


def connect_all(network: Network, *nodes: Node) -> None:
    for index, node in enumerate(nodes):
        for other in nodes[index + 1 :]:
            network.connect(node, other)


def agree(*nodes: Node) -> bool:
    return len({node.machine.status.head for node in nodes}) == 1


def work_along(network: Network, seconds: int, *nodes: Node) -> None:
    """Each submits a gradient every second."""
    for second in range(seconds):
        for node in nodes:
            name = f"{node.who.id.hex()} {network.now} {second}"
            submit(network, node, name.encode(), large(name))
        network.run(1_000)


def listed_attachments(node: Node) -> set[bytes]:
    head = node.machine.status.head
    return {payload.digest for one in node.listed(head) for payload in one.attachments}


def test_gradients_of_all_peers_get_into_the_chain_of_all() -> None:
    network = Network(QUICK)
    nodes = [network.add(name) for name in ("alice", "bob", "carol")]
    connect_all(network, *nodes)
    work_along(network, 40, *nodes)
    network.run(10_000)
    network.run_until(lambda: agree(*nodes), 5_000)
    assert [(node.refused, node.accused, node.halted) for node in nodes] == [([], [], None)] * 3
    assert len(listed_attachments(nodes[0])) > 100
    assert all(len(node.listed(node.machine.status.head)) == len(listed_attachments(node)) for node in nodes)


def test_a_late_joiner_fetches_all_payloads_of_the_chain_with_bounded_fetches() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.connect(alice, bob)
    work_along(network, 60, alice, bob)
    carol = network.add("carol")
    connect_all(network, carol, alice)
    network.connect(carol, bob)
    network.run_until(lambda: agree(alice, bob, carol), 30_000)
    assert len(listed_attachments(carol)) > 100
    assert listed_attachments(carol) <= carol.records.payloads.keys()
    assert FETCHES_PER_PEER_MAX <= carol.fetching_max <= FETCHES_MAX
    assert {fetch.peer for _, fetch in carol.fetched} == {alice.who.id, bob.who.id}


def test_a_restart_with_heavy_blocks_replays_to_the_same_head_and_fetches_nothing() -> None:
    network = Network(QUICK)
    alice, bob = network.add("alice"), network.add("bob")
    network.connect(alice, bob)
    work_along(network, 30, alice, bob)
    network.stop(alice)
    before = alice.machine.status
    again = network.add("alice", records=alice.records)
    after = again.machine.status
    assert (after.head, after.final, after.steps) == (before.head, before.final, before.steps)
    assert (again.fetched, len(listed_attachments(again)) > 20) == ([], True)
    network.connect(again, bob)
    work_along(network, 10, again, bob)
    network.run_until(lambda: agree(again, bob), 5_000)


def test_a_restart_checks_a_heavy_block_without_a_verdict_and_fetches_nothing() -> None:
    bench = Bench(RULES, judge=None)
    block = heavy(FORGE.genesis, "g")
    bench.push(block)
    bench.feed(AttachmentHeld(digest_of("g")))
    again = Bench(RULES, judge=None, records=bench.records)
    assert checked(again.machine.start(again.now)) == [block.id]
    assert (again.machine.status.payloads_wanted, fetches(again.push(block))) == (0, [])


def test_a_leader_that_withholds_payloads_leads_nothing_that_others_follow() -> None:
    network = Network(QUICK)
    liar, alice, bob = network.add("liar"), network.add("alice"), network.add("bob")
    connect_all(network, liar, alice, bob)
    network.run(2_000)
    liar.is_withholding = True
    work_along(network, 20, liar)
    network.run(20_000)
    network.run_until(lambda: agree(alice, bob), 5_000)
    withheld = liar.records.payloads.keys()
    assert not withheld & listed_attachments(alice)
    assert alice.machine.status.height > 15
    assert alice.machine.status.payloads_wanted < 300
    assert [node.halted for node in (alice, bob)] == [None, None]
    assert {fetch.peer for _, fetch in alice.fetched} == {liar.who.id, bob.who.id}


def test_a_payload_that_its_source_withholds_comes_from_another_peer() -> None:
    network = Network(QUICK)
    liar, alice, bob = (network.add(name, is_leading=False) for name in ("liar", "alice", "bob"))
    connect_all(network, liar, alice, bob)
    liar.is_withholding = True
    bob.records.payloads[digest_of("g")] = None
    submit(network, liar, b"gradient", large("g"))
    network.run(4_900)
    assert [one.payload for one in alice.assessed] == []
    assert [one.payload for one in bob.assessed] == [b"gradient"]
    network.run(1_000)
    assert [one.payload for one in alice.assessed] == [b"gradient"]
    assert [fetch.peer for _, fetch in alice.fetched] == [liar.who.id, bob.who.id]
