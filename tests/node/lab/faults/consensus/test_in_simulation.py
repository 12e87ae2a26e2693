"""Each fault of a replica bites, and f of them keep the honest neither from agreeing nor from going on."""

import pytest

from consensus.effects import Accuse, Broadcast, FetchAttachment, FetchState, Offence, Record, Refuse, Send
from consensus.proof_of_work import messages as work
from consensus.proof_of_work.rules import ChainRules
from consensus.proof_of_work.unverified_headers import ORPHANS_PER_PEER_MAX
from consensus.total_order import messages as order
from consensus.total_order.block import proves_equivocation
from consensus.total_order.committee import Committee
from consensus.types import Digest
from learning.aggregation.rule import GradientOutcome
from learning.evolution.rules import Strategy
from learning.exact import FITNESS_MAX
from learning.learner import AssessRequest, GradientsReport, StepAdopted
from node.lab.checkers.finding import Pass
from node.lab.faults.consensus.floods import false_claim
from node.lab.scenarios.events import Join, Slow
from node.lab.scenarios.scenario import ExpectSection, Faulty, LinksSection, Scenario, TimedEvent
from node.lab.scenarios.toy_tasks import ToyTask
from node.lab.simulation.population import START
from node.rules.network_rules import Consensus, TotalOrderSection
from node.runtime.coupling import AskLearner, Forget
from node.runtime.held_attachments import HeldAttachments
from node.storage.tables import PAYLOAD_TABLE
from tests.node.lab.faults.stage import (
    EVOLUTION,
    GRADIENT,
    GRADIENTS,
    ORDER,
    WORK,
    Play,
    assert_passed,
    play,
    play_scenario,
    withstood,
)

LIED_TO = (3, 6)
"""Seeds by which the joiner asks the liar."""

STATE_KEPT_BACK = 2
"""With this seed the liar is asked for the state."""

FALSELY_ANSWERED = 1
"""With this seed the liar is asked."""


def order_status(play: Play, number: int = 0):
    return play.honest[number].replica.ordering.status


@pytest.mark.parametrize("consensus", [WORK, ORDER])
def test_who_has_crashed_does_nothing_more(consensus) -> None:
    """It is gone before the part of the run in which the others must move on."""
    played = withstood("crash:after=1", consensus)
    assert max(now for now, _ in played.by(played.liar, Send | Broadcast)) < START + 1_000


@pytest.mark.parametrize("consensus", [WORK, ORDER])
def test_who_is_mute_follows(consensus) -> None:
    played = withstood("mute", consensus, seconds=20 if consensus is WORK else 10)
    assert list(played.by(played.liar, Send | Broadcast)) == []
    assert played.liar.head.height >= max(peer.head.height for peer in played.honest) - 1


def test_the_turns_of_a_mute_leader_are_skipped() -> None:
    assert order_status(withstood("mute", ORDER, seconds=10)).skipped_slots >= 5


@pytest.mark.parametrize("consensus", [WORK, ORDER])
def test_who_is_slow_is_heard_late_and_in_order(consensus) -> None:
    played = withstood("slow:delay_ms=300", consensus)
    first = min(now for now, _ in played.by(played.liar, Send | Broadcast))
    assert first >= START + 300


@pytest.mark.parametrize(("peers", "faulty"), [(4, 1), (7, 2)])
def test_an_equivocator_is_found_out_by_everybody(peers: int, faulty: int) -> None:
    played = withstood("equivocate", ORDER, peers=peers, faulty=faulty)
    liars = {liar.id for liar in played.liars}
    assert played.offences == {"EQUIVOCATION"}
    assert [{accusation.accused for accusation in peer.accusations} for peer in played.honest] == [liars] * (peers - faulty)
    population = played.simulation.population
    committee = Committee(population.members)
    assert all(proves_equivocation(committee, population.network_id, accusation) for accusation in played.accusations)


def test_an_equivocator_with_one_audience_is_found_out_by_nobody() -> None:
    assert withstood("equivocate:share=0", ORDER).accusations == []


def test_a_victim_fetches_what_is_kept_from_it() -> None:
    played = withstood("withhold-block:share=0.3", ORDER)
    assert [order_status(played, number).counters.blocks_fetched > 5 for number in range(3)] == [True, False, False]


def test_a_block_that_is_kept_from_all_does_not_count() -> None:
    played = withstood("withhold-block:share=1", WORK)
    led = {step.leader for peer in played.honest for step in peer.replica.ordering.status.steps}
    assert led == {peer.id for peer in played.honest}


def test_headers_whose_bodies_nobody_gets_keep_nobody_from_leading() -> None:
    played = withstood("withhold-body", WORK)
    shown = [work_of(effect.message) for _, effect in played.by(played.liar, Send)]
    own = [one.leader == played.liar.id for told in shown if isinstance(told, work.Headers) for one in told.headers]
    assert any(own)
    led = {step.leader for peer in played.honest for step in peer.replica.ordering.status.steps}
    assert led == {peer.id for peer in played.honest}


@pytest.mark.parametrize("silent", [0, 1])
@pytest.mark.parametrize("consensus", [WORK, ORDER])
def test_a_gradient_whose_payload_nobody_gets_has_no_part_in_the_model(consensus, silent: int) -> None:
    played = withstood(f"withhold-payload:silent={silent}", consensus, GRADIENT)
    judged = {one.author for _, told in played.by(played.honest[0], GradientsReport) for one in told.judged}
    assert judged <= {peer.id for peer in played.honest}
    assert len(judged) > 1, "who leads no block in the run is no worker"


@pytest.mark.parametrize("silent", [0, 1])
@pytest.mark.parametrize("consensus", [WORK, ORDER])
def test_a_payload_that_is_given_to_some_alone_comes_to_the_others_from_them(consensus, silent: int) -> None:
    played = withstood(f"withhold-payload:share=0.6,silent={silent}", consensus, GRADIENT)
    judged = [{one.author for _, told in played.by(peer, GradientsReport) for one in told.judged} for peer in played.honest]
    assert judged == [{peer.id for peer in played.simulation.network.peers.values()}] * 3
    assert played.counts["a payload came after the first peer asked had not sent it"] > 0


@pytest.mark.parametrize("consensus", [WORK, ORDER])
def test_who_gives_each_part_at_the_last_moment_is_overtaken_by_those_that_have_it(consensus) -> None:
    played = withstood("late-parts:share=0.6", consensus, GRADIENT)
    judged = [{one.author for _, told in played.by(peer, GradientsReport) for one in told.judged} for peer in played.honest]
    assert judged == [{peer.id for peer in played.simulation.network.peers.values()}] * 3
    assert played.counts["a payload was asked for from a second peer"] > 0


@pytest.mark.parametrize("fault", ["late-parts:share=0.5", "withhold-payload:share=0.5", "withhold-payload:share=0.5,silent=0"])
def test_a_state_that_a_signer_keeps_back_or_gives_late_comes_from_another(fault: str) -> None:
    """With this seed the joiner asks the liar first."""
    scenario = Scenario(
        name="state kept back",
        consensus=ORDER,
        learning=GRADIENT,
        peers=4,
        duration_s=16,
        snapshot_behind=10,
        gradient=GRADIENTS,
        total_order=TotalOrderSection(round_interval_ms=30, gc_depth=5),
        links=LinksSection(ms_min=1, ms_max=5),
        expect=ExpectSection(calm_s=2, heights_min=1, behind_max=28),
        faulty=(Faulty(fault, (3,)),),
        events=(TimedEvent("9", Join((1,))),),
    )
    played = play_scenario(scenario, seed=STATE_KEPT_BACK)
    assert_passed(played)
    assert played.counts["a member went on from a checkpoint"] > 0
    (asked, *_) = [effect for _, effect in played.by(played.honest[1], FetchState)]
    assert asked.peers[0] == played.liar.id


def named_again(gives: int) -> Scenario:
    """The horizon passes the first block within a second, and delivered payloads are forgotten as soon as they may be."""
    return Scenario(
        name="forgotten payload",
        consensus=ORDER,
        learning=GRADIENT,
        peers=4,
        duration_s=12,
        snapshot_behind=10,
        is_retention_tight=True,
        gradient=GRADIENTS,
        total_order=TotalOrderSection(round_interval_ms=50, gc_depth=5),
        links=LinksSection(ms_min=1, ms_max=10),
        expect=ExpectSection(calm_s=6, heights_min=3, behind_max=20),
        faulty=(Faulty(f"forgotten-payload:after=4,gives={gives}", (3,)),),
    )


def payload_of(played: Play) -> bytes:
    """What the two blocks of the liar name; it says no third one."""
    blocks = [block for _, block in created(played, played.liar)]
    assert [len(block.attachments) for block in blocks] == [1, 1]
    assert blocks[0].attachments == blocks[1].attachments
    return blocks[0].attachments[0].digest


def kept(played: Play, peer, digest: bytes) -> list[bool]:
    """Each time that the payload came to this disk (True), and went."""
    rows = (effect for _, effect in played.by(peer, Record | Forget))
    return [isinstance(row, Record) for row in rows if row.table == PAYLOAD_TABLE and row.key == digest]


def test_a_payload_that_was_forgotten_is_fetched_again_for_a_block_that_names_it() -> None:
    played = play_scenario(named_again(gives=1))
    assert_passed(played)
    digest = payload_of(played)
    assert [kept(played, peer, digest) for peer in played.honest] == [[True, False, True]] * 3
    assert played.counts["a payload that had been forgotten was fetched once more"] == 3
    judged = [{one.author for _, told in played.by(peer, GradientsReport) for one in told.judged} for peer in played.honest]
    assert judged == [{peer.id for peer in played.simulation.network.peers.values()}] * 3


def test_who_takes_a_forgotten_payload_for_held_is_found_out_by_it(monkeypatch) -> None:
    proper = HeldAttachments.forget

    def forget(self: HeldAttachments, digests) -> tuple[Digest, ...]:
        gone = proper(self, digests)
        self._held.update(dict.fromkeys(gone))
        return gone

    monkeypatch.setattr(HeldAttachments, "forget", forget)
    assert not isinstance(play_scenario(named_again(gives=1)).outcome.run_outcome, Pass)


def test_a_payload_that_all_have_forgotten_and_nobody_gives_keeps_nobody_from_going_on() -> None:
    played = play_scenario(named_again(gives=0))
    assert_passed(played)
    digest = payload_of(played)
    assert [kept(played, peer, digest) for peer in played.honest] == [[True, False]] * 3
    asked = [[effect for _, effect in played.by(peer, FetchAttachment) if effect.digest == digest] for peer in played.honest]
    assert all(len(questions) > 1 for questions in asked)


def test_a_leader_s_block_is_named_once_it_is_old() -> None:
    played = withstood("old-parents:hold_ms=2000", ORDER, seconds=10)
    members = played.simulation.population.members
    sent = {(peer.id, block.round): now for peer in played.honest for now, block in created(played, peer)}
    ages = [
        now - sent[members[parent.author], parent.round]
        for now, block in created(played, played.liar)
        for parent in block.parents
        if parent.round == block.round - 1 > 0
        and members[parent.author] != played.liar.id
        and parent.author == parent.round % 4
    ]
    assert len(list(created(played, played.liar))) >= 10
    assert all(age >= 2_000 for age in ages)


def created(played: Play, peer):
    """The blocks that a member has made, and when."""
    members = played.simulation.population.members
    for now, effect in played.by(peer, Broadcast):
        message = order.MESSAGE_CODEC.decode(effect.message)
        if isinstance(message, order.BlockMessage) and members[message.block.content.author] == peer.id:
            yield now, message.block.content


def test_a_silent_leader_s_blocks_are_asked_for() -> None:
    played = withstood("silent-leader", ORDER)
    rounds = order_status(played).round
    assert order_status(played).counters.blocks_fetched == pytest.approx(rounds / 4, abs=rounds / 8)


def test_a_silent_leader_s_work_counts_late() -> None:
    played = withstood("silent-leader", WORK, seed=1)
    led = {step.leader for step in order_status(played).steps}
    assert played.liar.id in led
    assert all(not isinstance(work_of(effect.message), work.BlockMessage) for _, effect in own_pushes(played))


def own_pushes(played: Play):
    for now, effect in played.by(played.liar, Broadcast | Send):
        message = work_of(effect.message)
        if isinstance(message, work.BlockMessage) and message.block.header.leader == played.liar.id:
            yield now, effect


def work_of(message: bytes) -> work.Message:
    return work.MESSAGE_CODEC.decode(message)


def test_blocks_of_the_far_future_are_not_kept() -> None:
    status = order_status(withstood("far-future", ORDER))
    assert status.counters.blocks_too_far >= status.round // 2
    assert status.suspended <= 4


def test_blocks_of_the_near_future_are_evidence_once_their_round_has_come() -> None:
    assert withstood("far-future:ahead=5", ORDER).offences == {"EQUIVOCATION"}


@pytest.mark.parametrize("consensus", [WORK, ORDER])
def test_blocks_that_were_signed_for_another_network_end_their_sender_and_are_evidence_of_nothing(consensus) -> None:
    """If the signature did not name the network, each would be a second block of its round, or a header without work."""
    played = withstood("foreign-replay", consensus)
    offences = {effect.offence for _, effect in played.by(played.honest[0], Refuse)}
    assert offences == {Offence.WRONG_SIGNATURE}
    assert (played.accusations, played.refusals) == ([], [{played.liar.id}] * 3)


def test_a_block_at_the_edge_of_time_is_taken() -> None:
    played = withstood("time-warp", WORK)
    limit_ms = played.simulation.population.rules.proof_of_work.future_limit_ms
    ahead = [work_of(effect.message).block.header.time_ms - now for now, effect in own_pushes(played)]
    assert ahead
    assert all(limit_ms - 2_000 <= one <= limit_ms for one in ahead)
    assert played.liar.id in {step.leader for step in order_status(played).steps}


def test_a_block_beyond_the_edge_of_time_waits() -> None:
    played = withstood("time-warp:edges=3", WORK, seed=2)
    assert list(own_pushes(played)) != []
    assert played.liar.id not in {step.leader for step in order_status(played).steps}


def test_one_clock_an_hour_ahead_moves_nobody_in_a_total_order() -> None:
    played = withstood("time-warp", ORDER)
    assert all(3_599_000 <= block.time_ms - now <= 3_600_000 for now, block in created(played, played.liar))
    assert played.accusations == []


@pytest.mark.parametrize("fault", ["private-chain", "reorg-flood"])
def test_blocks_that_are_kept_back_move_heads(fault: str) -> None:
    moved = "a head moved to another branch"
    alone = withstood("", WORK, faulty=0, seconds=40)
    played = withstood(fault, WORK, seconds=40)
    assert played.counts.get(moved, 0) > alone.counts.get(moved, 0)


def test_a_private_branch_is_hidden_until_it_hurts() -> None:
    """A block is shown only when others have come to its height, or one below."""
    played = withstood("private-chain", WORK, seconds=40)
    found = heights(played.by(played.liar, StepAdopted))
    shown = {work_of(effect.message).block.header.height: now for now, effect in own_pushes(played)}
    late = [height for height, now in shown.items() if now > found.get(height, now) + 100]
    assert len(late) >= 2


def heights(adopted) -> dict[int, int]:
    """When each height was first the head's."""
    first: dict[int, int] = {}
    for now, head in adopted:
        first.setdefault(head.height, now)
    return first


def test_a_flood_of_headers_without_work_ends_its_sender() -> None:
    played = withstood("header-flood", WORK)
    assert played.offences == {"WRONG_PUZZLE"}
    assert played.refusals == [{played.liar.id}] * 3


@pytest.mark.parametrize("strategy", [Strategy.PLUS, Strategy.JOINT])
def test_a_flood_of_contributions_by_throw_away_keys_costs_no_measurement(strategy: Strategy) -> None:
    """Eight of eleven peers flood the others; with nobody's flood the honest measure as much, and as many blocks are led."""
    flooded = withstood("contribution-flood:per_second=25", WORK, peers=11, faulty=8, strategy=strategy)
    calm = play("contribution-flood:per_second=1", WORK, peers=11, faulty=0, strategy=strategy)
    rules, known = flooded.simulation.population.rules.evolution, set(flooded.simulation.network.peers)
    false = {one.author: one.payload for one in told_contributions(flooded, flooded.liars[0]) if one.author not in known}
    assert len(false) >= 25 * 19
    assert set(false.values()) <= {false_claim(rules, number, FITNESS_MAX) for number in range(25 * 22)}
    for peer in flooded.honest:
        measured = [asked.request.contribution.author for _, asked in flooded.by(peer, AskLearner) if is_assessment(asked)]
        assert measured
        assert set(measured) <= known
    heights = [min(peer.head.height for peer in played.honest) for played in (flooded, calm)]
    assert heights[0] >= 0.8 * heights[1]


def is_assessment(asked: AskLearner) -> bool:
    return isinstance(asked.request, AssessRequest)


def told_contributions(played: Play, peer):
    """What a peer under proof of work has told others between blocks."""
    for _, effect in played.by(peer, Broadcast):
        message = work.MESSAGE_CODEC.decode(effect.message)
        if isinstance(message, work.ContributionMessage):
            yield message.contribution


def test_a_flood_of_orphans_fills_its_own_share_of_the_waiting_room() -> None:
    played = withstood("orphan-flood", WORK)
    assert [peer.replica.ordering.status.orphans for peer in played.honest] == [ORPHANS_PER_PEER_MAX] * 3
    assert list(played.by(played.honest[0], Accuse)) == []


def test_grinding_costs_the_grinder_its_blocks() -> None:
    alone, played = withstood("", WORK, faulty=0, seconds=40), withstood("seed-grinder:bits=8", WORK, seconds=40)
    led = [run.simulation.network.peers[played.liar.id].replica.ordering.status.blocks_led for run in (alone, played)]
    assert led[0] >= 3
    assert led[1] == 0


def test_two_faults_of_one_peer_bite_together() -> None:
    played = withstood("slow:delay_ms=300+contested-claim", WORK, EVOLUTION)
    assert min(now for now, _ in played.by(played.liar, Send | Broadcast)) >= START + 300
    assert played.counts["a block was contested"] > 0


@pytest.mark.parametrize("fault", ["equivocate", "private-chain", "slow"])
def test_one_seed_gives_one_trace_with_a_fault_too(fault: str) -> None:
    consensus = WORK if fault == "private-chain" else ORDER
    traces = {play.__wrapped__(fault, consensus, seconds=4).outcome.trace_digest for _ in range(2)}
    assert len(traces) == 1


@pytest.mark.parametrize("consensus", [WORK, ORDER])
def test_who_answers_nothing_is_asked_in_vain_and_keeps_nobody_from_following(consensus: Consensus) -> None:
    played = withstood("unanswering", consensus)
    answers = (work.Headers, work.Blocks) if consensus is WORK else (order.Blocks, order.Commits, order.OwnBlocks)
    codec = work.MESSAGE_CODEC if consensus is WORK else order.MESSAGE_CODEC
    sent = {type(codec.decode(effect.message)) for _, effect in played.by(played.liar, Broadcast | Send)}
    assert sent
    assert sent.isdisjoint(answers)


@pytest.mark.parametrize(("peers", "faulty"), [(4, 1), (7, 2)])
def test_blocks_that_name_parents_wrongly_are_told_and_end_nobody(peers: int, faulty: int) -> None:
    played = withstood("false-parents", ORDER, peers=peers, faulty=faulty)
    assert played.offences == {"EQUIVOCATION", "WRONG_PARENTS"}
    liars = {liar.id for liar in played.liars}
    assert [{accusation.accused for accusation in peer.accusations} for peer in played.honest] == [liars] * (peers - faulty)


@pytest.mark.parametrize("seed", LIED_TO)
def test_who_joins_late_refuses_whoever_answers_with_false_commits_and_arrives(seed: int) -> None:
    scenario = Scenario(
        name="late among liars",
        consensus=ORDER,
        learning=EVOLUTION,
        peers=4,
        duration_s=14,
        task=ToyTask.SPHERE,
        total_order=TotalOrderSection(round_interval_ms=60),
        expect=ExpectSection(calm_s=5, heights_min=2, behind_max=4),
        faulty=(Faulty("false-commits", (3,)),),
        events=(TimedEvent("7.0", Join((1,))),),
    )
    played = play_scenario(scenario, seed)
    assert_passed(played)
    lies = [
        effect.peer
        for _, effect in played.by(played.liar, Send)
        if isinstance(order.MESSAGE_CODEC.decode(effect.message), order.Commits)
    ]
    assert lies == [played.honest[1].id]
    assert played.refusals == [set(), {played.liar.id}, set()]


def test_chains_without_work_end_their_sender() -> None:
    played = withstood("workless-headers", WORK)
    assert all(played.liar.id in refused for refused in played.refusals)
    assert played.offences == {Offence.WRONG_PUZZLE.name}


def test_who_works_on_a_chain_of_its_own_shows_headers_and_no_body_and_nobody_follows_it() -> None:
    played = withstood("cheap-rivals", WORK)
    sent = {type(work_of(effect.message)) for _, effect in played.by(played.liar, Broadcast | Send)}
    assert sent.isdisjoint({work.BlockMessage, work.Blocks})
    own = {head.step for _, head in played.by(played.liar, StepAdopted)}
    assert len(own) > 3
    assert all(own.isdisjoint(head.step for _, head in played.by(peer, StepAdopted) if head.height) for peer in played.honest)


def test_headers_of_a_heavier_branch_from_below_the_final_block_halt_nobody_while_nobody_gives_their_bodies() -> None:
    """The liar has more of the work than the three others together, who are slow, and its chain leaves theirs at genesis."""
    scenario = Scenario(
        name="heavier from below",
        consensus=WORK,
        learning=EVOLUTION,
        peers=4,
        duration_s=60,
        proof_of_work=ChainRules(
            block_interval_ms=1_000, start_attempts=100, puzzle_memory_kib=8, finality_depth=4, contest_depth=3
        ),
        expect=ExpectSection(calm_s=30, heights_min=1, behind_max=4),
        faulty=(Faulty("cheap-rivals", (3,)),),
        events=(TimedEvent("0.1", Slow((0, 1, 2), factor=8)),),
    )
    played = play_scenario(scenario)
    assert_passed(played)
    assert played.liar.head.height > 2 * max(peer.head.height for peer in played.honest)
    for peer in played.honest:
        asked = [work_of(effect.message) for _, effect in played.by(peer, Send) if effect.peer == played.liar.id]
        assert any(isinstance(question, work.GetBlocks) for question in asked), "its bodies are wanted before anything else"
        assert (peer.halted, order_status(played).final_height > 0) == (None, True)


def test_a_member_that_joins_late_arrives_though_some_answer_with_commits_without_end() -> None:
    scenario = Scenario(
        name="endless join",
        consensus=ORDER,
        learning=GRADIENT,
        peers=7,
        duration_s=14,
        snapshot_behind=10,
        total_order=TotalOrderSection(round_interval_ms=50, gc_depth=5),
        links=LinksSection(ms_min=1, ms_max=10),
        expect=ExpectSection(calm_s=5, heights_min=1, behind_max=28),
        faulty=(Faulty("endless-join", (5, 6)),),
        events=(TimedEvent("8", Join((1,))),),
    )
    played = play_scenario(scenario, seed=FALSELY_ANSWERED)
    assert_passed(played)
    late = played.honest[1]
    asked = [(effect.peer, order.MESSAGE_CODEC.decode(effect.message)) for _, effect in played.by(late, Send)]
    liars = {liar.id for liar in played.liars}
    assert liars & {peer for peer, question in asked if isinstance(question, order.GetCommits)}
    told = [order.MESSAGE_CODEC.decode(effect.message) for liar in played.liars for _, effect in played.by(liar, Send)]
    assert {len(answer.records) for answer in told if isinstance(answer, order.Commits)} == {1}


def test_junk_is_fetched_by_everybody_and_moves_nothing() -> None:
    played = withstood("junk-payloads", ORDER, GRADIENT)
    for peer in played.honest:
        junk = [
            one
            for _, told in played.by(peer, GradientsReport)
            for one in told.judged
            if one.outcome == GradientOutcome.MALFORMED
        ]
        assert junk
        assert {one.author for one in junk} == {played.liar.id}


@pytest.mark.parametrize("consensus", [WORK, ORDER])
def test_who_asks_as_often_as_it_may_is_answered_and_keeps_nobody_from_working(consensus: Consensus) -> None:
    played = withstood("asking", consensus, seconds=20)
    codec, question = (work.MESSAGE_CODEC, work.GetHeaders) if consensus is WORK else (order.MESSAGE_CODEC, order.GetCommits)
    sent = [type(codec.decode(effect.message)) for _, effect in played.by(played.liar, Send | Broadcast)]
    assert set(sent) == {question}
    answers = [effect for peer in played.honest for _, effect in played.by(peer, Send) if effect.peer == played.liar.id]
    assert len(answers) > len(sent) / 2
    assert played.refusals == [set()] * 3
