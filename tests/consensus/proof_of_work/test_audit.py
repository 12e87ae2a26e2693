"""A heavier branch from below the final block: we halt once its bodies have come and are sound, and for nothing less."""

from consensus.effects import Effect, Finalise, Halt, Refuse
from consensus.proof_of_work.block_download import BODIES_PER_REQUEST, STALLED_MS
from consensus.proof_of_work.messages import Blocks, Busy, GetBlocks, GetHeaders, Headers, Tip
from consensus.proof_of_work.packed_headers import WORK_BYTES
from consensus.proof_of_work.peers import OWED_MAX
from consensus.types import Height
from tests.consensus.proof_of_work.bench import OTHER, PEER, Bench, of_type, refusals, sent
from tests.consensus.proof_of_work.forge import RULES, Forge, Forged, person, resigned
from tests.consensus.proof_of_work.network import Records
from tests.consensus.proof_of_work.test_unproven import later, records_of, tip_of

FORGE = Forge()
OURS = FORGE.branch(FORGE.genesis, person("alice"), 40)
THEIRS = FORGE.branch(OURS[9].link, person("bob"), 60, claim=b"theirs")
FINAL = len(OURS) - RULES.finality_depth


def settled(records: Records | None = None) -> Bench:
    """A peer whose block 28 is final, long after its start."""
    bench = Bench(records=records_of(OURS, FINAL) if records is None else records)
    later(bench, 15_000)
    assert bench.machine.status.final_height == FINAL
    return bench


def show(bench: Bench, branch: tuple[Forged, ...] = THEIRS) -> tuple[Effect, ...]:
    """A peer claims the branch, and answers with its headers; they are verified within some seconds."""
    effects = bench.receive(tip_of(branch[-1]))
    assert len(sent(effects, GetHeaders)) == 1
    effects = bench.receive(Headers(tuple(forged.block.header for forged in branch)))
    for _ in range(9):
        effects += later(bench, 250)
    return effects


def bodies_for(effects: tuple[Effect, ...], branch: tuple[Forged, ...] = THEIRS) -> Blocks:
    ((peer, request),) = sent(effects, GetBlocks)
    assert peer == PEER.id
    return Blocks(tuple(branch[place.height - 11].block for place in request.places))


def test_the_bodies_of_a_heavier_rival_are_asked_for_from_the_fork_on() -> None:
    ((_, request),) = sent(show(settled()), GetBlocks)
    assert [place.height for place in request.places] == list(range(11, 11 + BODIES_PER_REQUEST))


def test_headers_alone_never_halt() -> None:
    bench = settled()
    effects = show(bench)
    for _ in range(100):
        effects += later(bench, 10_000)
    assert of_type(effects, Halt) == []


def test_we_halt_once_the_bodies_that_outweigh_our_head_have_come_and_say_what_a_person_can_do() -> None:
    bench = settled()
    effects = show(bench)
    effects = bench.receive(bodies_for(effects))
    assert of_type(effects, Halt) == []
    (halt,) = of_type(bench.receive(bodies_for(effects)), Halt)
    assert THEIRS[-1].id.hex() in halt.reason
    assert "leaves our chain after height 10, below our final block" in halt.reason
    assert "To keep ours, start again" in halt.reason
    assert "remove the store (keep the key) and start again" in halt.reason


def test_a_rival_that_is_no_heavier_is_not_looked_at() -> None:
    bench = settled()
    bench.receive(tip_of(THEIRS[-1]))
    effects = bench.receive(Headers(tuple(forged.block.header for forged in THEIRS[:30])))
    for _ in range(12):
        effects += later(bench, 500)
    assert sent(effects, GetBlocks) == []


def test_nothing_becomes_final_while_a_heavier_rival_arrives_and_all_goes_on_when_it_does_not() -> None:
    bench = settled()
    show(bench)
    more = FORGE.branch(OURS[-1].link, person("alice"), 5)
    assert of_type(bench.push(*more, peer=OTHER.id), Finalise) == []
    assert of_type(later(bench, STALLED_MS), Finalise) == [Finalise(OURS[FINAL + 4].id, Height(FINAL + 5))]


def test_a_restart_after_the_rival_is_gone_goes_on_and_headers_alone_do_not_halt_it_again() -> None:
    bench = settled()
    effects = show(bench)
    for _ in range(2):
        effects = bench.receive(bodies_for(effects))
    assert len(of_type(effects, Halt)) == 1
    again = Bench(records=bench.records)
    later(again, 15_000)
    assert again.machine.status.height == len(OURS)
    show(again)
    assert of_type(later(again, 10 * STALLED_MS), Halt) == []


def test_a_rival_with_a_broken_body_is_dropped_and_its_sender_refused() -> None:
    bench = settled()
    answer = bodies_for(show(bench))
    broken = Blocks((resigned(answer.blocks[0], bytes(64)), *answer.blocks[1:]))
    effects = bench.receive(broken)
    assert [peer for peer, _ in refusals(effects)] == [PEER.id]
    assert of_type(effects + later(bench, 60_000), Halt) == []


def test_a_newcomer_does_not_halt_before_it_has_arrived() -> None:
    bench = Bench(records=records_of(OURS, FINAL))
    effects = show(bench)
    for _ in range(2):
        effects = bench.receive(bodies_for(effects))
    assert of_type(effects, Halt) == []
    assert len(of_type(later(bench, 15_000), Halt)) == 1


def test_a_busy_peer_is_asked_again_later_and_who_is_busy_unasked_is_refused() -> None:
    bench = settled()
    effects = show(bench)
    asked = bodies_for(effects)
    assert of_type(bench.receive(Busy(True)), Refuse) == []
    again = later(bench, 6_000)
    assert bodies_for(again) == asked
    unasked = [bench.receive(Busy(False)) for _ in range(OWED_MAX + 1)]  # some may be meant for an earlier incarnation
    assert [len(of_type(effects, Refuse)) for effects in unasked] == [0] * OWED_MAX + [1]


def test_a_rival_that_is_heavier_than_a_low_head_alone_is_not_looked_at_while_the_bodies_of_a_heavier_chain_arrive() -> None:
    bench = settled()
    more = FORGE.branch(OURS[-1].link, person("alice"), 100)
    effects = bench.receive(tip_of(more[-1]), OTHER.id)
    effects += bench.receive(Headers(tuple(forged.block.header for forged in more)), OTHER.id)
    assert bench.machine.status.sync_target == 140
    effects += bench.receive(Tip(THEIRS[-1].id, 1_000, (10**6).to_bytes(WORK_BYTES, "big")))
    effects += bench.receive(Headers(tuple(forged.block.header for forged in THEIRS)))
    for _ in range(40):
        effects += later(bench, 250)
    rivals = {forged.id for forged in THEIRS}
    assert not any(place.id in rivals for _, request in sent(effects, GetBlocks) for place in request.places)
    effects = bench.push(*more[:20], peer=OTHER.id)
    assert of_type(effects, Finalise)[-1] == Finalise(more[20 - 1 - RULES.finality_depth].id, Height(60 - RULES.finality_depth))
    assert of_type(effects + later(bench, 15_000), Halt) == []
