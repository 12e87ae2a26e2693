"""Which events count as which rare path."""

from consensus.faults import Accusation, Offence
from consensus.protocol import Accuse, FetchPayload, Refuse
from consensus.types import Digest, PeerId
from learning.learner import AdoptRequest, CheckRequest, DeliverRequest, Judgement, ReplayRequest, StepChecked
from node.replica import AskLearner
from node.simulation.checkers.finding import Event, Seen
from node.simulation.checkers.rare_paths import RarePath, RarePaths
from tests.simulation.streams import ALICE, BOB, CAROL, DAVE, delivery, name_of, proposal, seen


def counted(*events: Seen) -> dict[RarePath, int]:
    paths = RarePaths()
    for event in events:
        paths.see(event)
    return dict(paths.counts)


def of_alice(*events: Event, life: int = 0) -> list[Seen]:
    return [seen(ALICE, event, life=life) for event in events]


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
    def fetch(peer: PeerId) -> FetchPayload:
        return FetchPayload(Digest(name_of("payload")), 9, peer)

    assert counted(*of_alice(fetch(BOB), fetch(BOB))) == {}
    assert counted(*of_alice(fetch(BOB), fetch(CAROL))) == {RarePath.PAYLOAD_FROM_ANOTHER: 1}


def test_what_a_restart_tells_its_learner_again_is_a_replay() -> None:
    once = AskLearner(DeliverRequest(delivery(1)))
    assert counted(*of_alice(once)) == {}
    assert counted(*of_alice(once), *of_alice(once, life=1)) == {RarePath.RESTARTED_WITH_REPLAY: 1}
    assert counted(*of_alice(AskLearner(ReplayRequest(proposal("a1", "genesis", 1))))) == {RarePath.RESTARTED_WITH_REPLAY: 1}


def test_blame_and_doubt_are_counted_by_their_kind() -> None:
    events = of_alice(
        Accuse(Accusation(DAVE, Offence.EQUIVOCATION, "two blocks", b"")),
        Accuse(Accusation(DAVE, Offence.FALSE_CLAIM, "too good", b"")),
        Refuse(DAVE, Offence.FLOODING, "blocks"),
        StepChecked(name_of("a1"), Judgement.CONTESTED, False, ""),
        StepChecked(name_of("a2"), Judgement.GOOD, False, ""),
    )
    assert counted(*events) == {
        RarePath.EQUIVOCATION_SEEN: 1,
        RarePath.PEER_ACCUSED: 1,
        RarePath.PEER_REFUSED: 1,
        RarePath.BLOCK_CONTESTED: 1,
    }
