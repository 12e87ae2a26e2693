"""Which events count as which rare path."""

from consensus.effects import Accusation, Accuse, Broadcast, FetchAttachment, Guard, Offence, Record, Refuse
from consensus.encoding import encode
from consensus.types import Digest, PeerId
from learning.aggregation.rule import GradientOutcome
from learning.evolution.joint_step import DIRECTION_LABEL
from learning.evolution.joint_submission import LIST_KIND
from learning.learner import (
    AdoptRequest,
    AuthoredPayload,
    CheckRequest,
    DeliverRequest,
    GenerationDecided,
    GradientReport,
    GradientsReport,
    ReplayRequest,
    RestoreRequest,
    SlateEntry,
    StateKept,
    StepChecked,
    Verdict,
)
from node.lab.checkers.finding import Event, Seen
from node.lab.checkers.rare_paths import RarePath, RarePaths
from node.runtime.coupling import AskLearner, Forget
from node.storage.tables import PAYLOAD_TABLE, STATE_KEY, STATE_TABLE
from tests.node.lab.runs.streams import ALICE, BOB, CAROL, DAVE, MEMBERS, delivery, head, name_of, proposal, seen, work_block
from tests.node.lab.simulation.world import simulated_members


def counted(*events: Seen) -> dict[RarePath, int]:
    paths = RarePaths()
    for event in events:
        paths.see(event)
    return dict(paths.counts)


def of_alice(*events: Event, incarnation: int = 0) -> list[Seen]:
    return [seen(ALICE, event, incarnation=incarnation) for event in events]


def adopts(*names: str) -> list[Seen]:
    return of_alice(*(AskLearner(AdoptRequest(name_of(name))) for name in names))


TREE = of_alice(
    *(
        AskLearner(CheckRequest(proposal(name, parent, height)))
        for name, parent, height in (("a1", "genesis", 1), ("a2", "a1", 2), ("b1", "genesis", 1), ("b2", "b1", 2))
    )
)


def test_only_another_branch_is_a_reorganisation() -> None:
    assert counted(*TREE, *adopts("a1", "a2")) == {}
    assert counted(*TREE, *adopts("a1", "b2")) == {RarePath.REORGANISED: 1}


def test_a_payload_that_is_asked_for_twice_counts_when_the_second_is_another_peer() -> None:
    def fetch(peer: PeerId) -> FetchAttachment:
        return FetchAttachment(Digest(name_of("payload")), 9, peer)

    assert counted(*of_alice(fetch(BOB), fetch(BOB))) == {}
    assert counted(*of_alice(fetch(BOB), fetch(CAROL), fetch(BOB))) == {RarePath.PAYLOAD_FROM_ANOTHER: 1}
    comes = Record(PAYLOAD_TABLE, name_of("payload"), b"")
    assert counted(*of_alice(fetch(BOB), comes)) == {}
    assert counted(*of_alice(fetch(BOB), fetch(CAROL), comes)) == {
        RarePath.PAYLOAD_FROM_ANOTHER: 1,
        RarePath.PAYLOAD_CAME_FROM_ANOTHER: 1,
    }


def test_a_payload_that_comes_once_more_after_it_was_forgotten_counts() -> None:
    comes, goes = Record(PAYLOAD_TABLE, name_of("payload"), b""), Forget(PAYLOAD_TABLE, name_of("payload"))
    assert counted(*of_alice(comes, goes), seen(BOB, comes)) == {}
    assert counted(*of_alice(comes, goes, comes, comes)) == {RarePath.PAYLOAD_FETCHED_AGAIN: 1}


def test_what_a_restart_tells_its_learner_again_is_a_replay() -> None:
    once = AskLearner(DeliverRequest(delivery(1)))
    assert counted(*of_alice(once)) == {}
    assert counted(*of_alice(once), *of_alice(once, incarnation=1)) == {RarePath.RESTARTED_WITH_REPLAY: 1}
    assert counted(*of_alice(AskLearner(ReplayRequest(proposal("a1", "genesis", 1))))) == {RarePath.RESTARTED_WITH_REPLAY: 1}


def test_blame_and_doubt_are_counted_by_their_kind() -> None:
    events = of_alice(
        Accuse(Accusation(DAVE, Offence.EQUIVOCATION, "two blocks", b"")),
        Accuse(Accusation(DAVE, Offence.FALSE_CLAIM, "too good", b"")),
        Refuse(DAVE, Offence.FLOODING, "blocks"),
        StepChecked(name_of("a1"), Verdict.CONTESTED, False, ""),
        StepChecked(name_of("a2"), Verdict.GOOD, False, ""),
    )
    assert counted(*events) == {
        RarePath.EQUIVOCATION_SEEN: 1,
        RarePath.PEER_ACCUSED: 1,
        RarePath.PEER_REFUSED: 1,
        RarePath.BLOCK_CONTESTED: 1,
    }


def test_a_contested_block_counts_again_when_its_judge_builds_on_it() -> None:
    doubt = StepChecked(name_of("b1"), Verdict.CONTESTED, False, "")
    assert counted(*TREE, *of_alice(doubt), *adopts("a1", "a2")) == {RarePath.BLOCK_CONTESTED: 1}
    assert counted(*TREE, *of_alice(doubt), *adopts("b2", "b2")) == {RarePath.BLOCK_CONTESTED: 1, RarePath.CONTEST_LOST: 1}


def test_a_cut_that_heals_counts_when_two_heads_lie_on_different_branches() -> None:
    def healed(heads: dict[PeerId, str]) -> dict[RarePath, int]:
        paths = RarePaths()
        for event in (*TREE, *(seen(peer, AskLearner(AdoptRequest(name_of(name)))) for peer, name in heads.items())):
            paths.see(event)
        paths.heals()
        return dict(paths.counts)

    assert healed({ALICE: "a1", BOB: "a2"}) == {}
    assert healed({ALICE: "a1", BOB: "b2"}) == {RarePath.HEALED_WITH_BRANCHES: 1}


def test_what_a_rule_makes_of_gradients_counts_by_its_outcome() -> None:
    outcomes = (
        GradientOutcome.APPLIED,
        GradientOutcome.TOO_STEEP,
        GradientOutcome.TOO_FREQUENT,
        GradientOutcome.COPY,
        GradientOutcome.STALE,
        GradientOutcome.REPEATED,
    )
    rows = tuple(GradientReport(DAVE, outcome, outcome.is_accepted, 1) for outcome in outcomes)
    assert counted(*of_alice(GradientsReport(name_of("a1"), 3, rows, ()))) == {
        RarePath.TOO_STEEP: 1,
        RarePath.TOO_FREQUENT: 1,
        RarePath.COPY_SKIPPED: 1,
        RarePath.BASE_REFUSED: 2,
    }


def test_no_change_and_a_checkpoint_count() -> None:
    def decided(winner: int, first: PeerId | None = None) -> GenerationDecided:
        slate = (SlateEntry(first, None, 0, 0), SlateEntry(BOB, None, 0, 0))
        return GenerationDecided(name_of("g1"), 1, name_of("g0"), slate, winner, (), ())

    restored = AskLearner(RestoreRequest(StateKept(name_of("g1"), 1, b"")))
    assert counted(*of_alice(decided(0), decided(1), decided(0, ALICE), restored)) == {
        RarePath.NO_CHANGE_DECIDED: 1,
        RarePath.JOINED_AT_CHECKPOINT: 1,
    }


def generation(number: int, leads: dict[PeerId, int], scorers: tuple[PeerId, ...] = MEMBERS) -> GenerationDecided:
    """By the joint rule: the leads of these authors' directions."""
    directions = tuple(SlateEntry(author, None, 100 + lead, None, DIRECTION_LABEL) for author, lead in leads.items())
    slate = (SlateEntry(None, None, 100, None), *directions)
    return GenerationDecided(name_of(f"g{number}"), number, name_of(f"g{number - 1}"), slate, 1, scorers, ())


def joint_paths(*events: Event) -> dict[RarePath, int]:
    paths = RarePaths(MEMBERS)
    for event in of_alice(*events):
        paths.see(event)
    return dict(paths.counts)


def test_a_slate_without_a_member_s_list_and_an_author_on_probation_count() -> None:
    good = dict.fromkeys(MEMBERS, 5)
    assert joint_paths(generation(1, good)) == {}
    assert joint_paths(generation(1, dict.fromkeys(MEMBERS[:3], 5))) == {RarePath.LIST_MISSING: 1}
    assert joint_paths(generation(1, {**good, DAVE: 0})) == {RarePath.AUTHOR_ON_PROBATION: 1}
    assert joint_paths(generation(1, {**good, CAROL: -1, DAVE: 0})) == {}


def test_a_list_that_came_with_late_scores_counts_and_one_by_itself_does_not() -> None:
    good, three = dict.fromkeys(MEMBERS, 5), MEMBERS[:3]
    late = {RarePath.LIST_CAME_LATE: 1}
    assert joint_paths(generation(1, good), generation(2, good)) == {}
    assert joint_paths(generation(1, good, three), generation(2, good)) == late
    assert joint_paths(generation(1, good, three), generation(3, good)) == {}
    alone = AuthoredPayload(name_of("list"), DAVE, name_of("g1"), bytes([LIST_KIND]))
    comes = AskLearner(DeliverRequest(delivery(1, alone)))
    assert joint_paths(generation(1, good, three), comes, generation(2, good)) == {}


# --- lives ------------------------------------------------------------------------------------------------------------


def vertex(author: int, round_number: int) -> Record:
    return Record(
        "vertex", round_number.to_bytes(8, "big") + author.to_bytes(4, "big") + name_of(f"{author}/{round_number}"), b""
    )


NEXT_LIFE = of_alice(AskLearner(DeliverRequest(delivery(9))), incarnation=1)


def test_a_life_that_ends_with_an_own_block_recorded_and_not_sent_counts() -> None:
    def lived(*events: Event) -> dict[RarePath, int]:
        paths = RarePaths(MEMBERS)
        for event in (*of_alice(*events), *NEXT_LIFE):
            paths.see(event)
        return dict(paths.counts)

    killed = {RarePath.KILLED_BEFORE_SENDING: 1}
    assert lived(vertex(0, 5)) == killed
    assert lived(vertex(0, 5), Guard(5)) == killed
    assert lived(vertex(0, 5), Guard(5), Broadcast(b"")) == {}
    assert lived(vertex(1, 5)) == {}


def test_a_leader_that_ends_before_it_sends_its_block_counts() -> None:
    step, block = work_block(name_of("genesis"), 1, 1_000)
    record = Record("block", bytes(8) + step, encode(block))
    assert counted(*of_alice(record), *NEXT_LIFE) == {RarePath.KILLED_BEFORE_SENDING: 1}
    assert counted(seen(BOB, record), seen(BOB, NEXT_LIFE[0].event, incarnation=1)) == {}


def test_a_start_counts_by_what_is_on_its_disk() -> None:
    def started(rows: dict[tuple[str, bytes], bytes], guard_round: int, *, is_full: bool = False) -> dict[RarePath, int]:
        paths = RarePaths(MEMBERS)
        for event in of_alice(vertex(0, 5), Guard(5), Broadcast(b"")):
            paths.see(event)
        paths.starts(ALICE, rows, guard_round, is_full)
        for event in of_alice(vertex(0, 6), vertex(0, 7), incarnation=1):
            paths.see(event)
        return dict(paths.counts)

    newest, older = ({(row.table, row.key): b""} for row in (vertex(0, 5), vertex(0, 4)))
    assert started(newest, 5) == {}
    assert started(newest | {(STATE_TABLE, STATE_KEY): b""}, 5) == {RarePath.KEPT_STATE_RESTORED: 1}
    assert started(newest, 5, is_full=True) == {RarePath.DISK_FILLED: 1}
    assert started(older, 5) == {RarePath.RECORDS_LOST: 1, RarePath.GUARD_HELD: 1}
    assert started(older, 6) == {RarePath.RECORDS_LOST: 1, RarePath.GUARD_HELD: 1}


def test_a_late_joiner_has_arrived_once_it_stands_where_the_others_stood_when_it_came() -> None:
    paths = RarePaths()
    paths.see(seen(BOB, head("a7", 7)))
    paths.joins(ALICE)
    for height in (3, 6):
        paths.see(seen(ALICE, head(f"a{height}", height)))
    assert dict(paths.counts) == {}
    for height in (7, 8):
        paths.see(seen(ALICE, head(f"a{height}", height)))
    assert dict(paths.counts) == {RarePath.LATE_JOINER_ARRIVED: 1}


def test_what_machines_count_is_added_up_over_their_lives_and_never_twice() -> None:
    network = simulated_members(4, seed=1)
    victim = list(network.peers)[3]
    network.run_for(1_000)
    network.crash(victim)
    network.run_for(3_000)
    (peer, *_) = network.peers.values()
    skipped = peer.replica.ordering.status.counters
    expected = skipped.direct_skips + skipped.indirect_skips
    assert expected > 0
    paths = RarePaths(tuple(network.peers))
    for _ in range(2):
        paths.note_machine(peer.id, peer.replica.ordering)
    assert paths.counts[RarePath.LEADER_SKIPPED] == expected
    paths.see(seen(peer.id, Broadcast(b""), incarnation=1))
    paths.note_machine(peer.id, peer.replica.ordering)
    assert paths.counts[RarePath.LEADER_SKIPPED] == 2 * expected
