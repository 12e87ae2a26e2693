"""The faults of an evolutionary learner by name."""

from collections.abc import Callable

from learning.evolution.rules import Strategy
from learning.exact import MICRO
from learning.learner import Learner
from node.lab.faults.evolution.claims import (
    ColludingScorers,
    ContestedClaim,
    InflatedClaim,
    OwnWorkIsGood,
    ScoresInverted,
    StolenCandidate,
    UnverifiableIndex,
)
from node.lab.faults.evolution.effort import FreeRider, ReversedTask, WorstCandidate
from node.lab.faults.evolution.interceptor import (
    InterceptedLearner,
    LearnerInterceptor,
    LearnerSituation,
    MakeLearner,
    PayloadCodec,
)
from node.lab.faults.evolution.lists import OtherLists, PoorLists, WrongWinner, reversed_list
from node.lab.faults.fault import EFFORT, Family, Fault, FaultParameter, Values
from node.rules.network_rules import Consensus, Learning

_NONE = "none"

_MICRO_MAX = 1e12


def _entry(
    name: str,
    description: str,
    powers: str,
    make: MakeLearner,
    *parameters: FaultParameter,
    consensus: Consensus | None = None,
    is_of_lists: bool | None = None,
) -> Fault[MakeLearner]:
    return Fault(name, Family.EVOLUTION, description, powers, make, parameters, consensus, Learning.EVOLUTION, is_of_lists)


def _of_lists(
    name: str,
    description: str,
    powers: str,
    interceptor: Callable[[LearnerSituation], LearnerInterceptor],
    *parameters: FaultParameter,
) -> Fault[MakeLearner]:
    return _entry(
        name,
        description,
        powers,
        lambda values, learner, situation: InterceptedLearner(learner, interceptor(situation)),  # noqa: ARG005
        *parameters,
        consensus=Consensus.TOTAL_ORDER,
        is_of_lists=True,
    )


def _lying(learner: Learner, situation: LearnerSituation, interceptor: LearnerInterceptor) -> Learner:
    """A lie that its own learner would find out, if it looked."""
    return InterceptedLearner(InterceptedLearner(learner, OwnWorkIsGood(situation.author)), interceptor)


def _contested(values: Values, learner: Learner, situation: LearnerSituation) -> Learner:
    return _lying(
        learner, situation, ContestedClaim(situation.rules.fitness_tolerance + int(values["beyond"]), PayloadCodec(situation))
    )


def _free_rider(values: Values, learner: Learner, situation: LearnerSituation) -> Learner:  # noqa: ARG001
    goes_on = bool(situation.members) or situation.rules.strategy is Strategy.JOINT
    return FreeRider(learner, PayloadCodec(situation), goes_on=goes_on)


def _worst(values: Values, learner: Learner, situation: LearnerSituation) -> Learner:  # noqa: ARG001
    if situation.has_lists:
        return InterceptedLearner(learner, OtherLists(reversed_list, PayloadCodec(situation)))
    worst = WorstCandidate(learner, situation.build(ReversedTask(situation.task)), PayloadCodec(situation))
    return InterceptedLearner(worst, OwnWorkIsGood(situation.author))


EVOLUTION_FAULTS: tuple[Fault[MakeLearner], ...] = (
    _entry(
        "contested-claim",
        "as leader claims the tolerance, and `beyond` micro-units, more than it measures",
        _NONE,
        _contested,
        FaultParameter("beyond", 1, 0, _MICRO_MAX, is_whole=True),
        consensus=Consensus.PROOF_OF_WORK,
    ),
    _entry(
        "inflated-claim",
        "claims `by` micro-units more for its candidates and blocks than it measures",
        _NONE,
        lambda values, learner, situation: _lying(
            learner, situation, InflatedClaim(int(values["by"]), PayloadCodec(situation))
        ),
        FaultParameter("by", MICRO, 1, _MICRO_MAX, is_whole=True),
        is_of_lists=False,
    ),
    _entry(
        "stolen-candidate",
        "submits others' candidates as its own",
        "what it hears",
        lambda values, learner, situation: _lying(  # noqa: ARG005
            learner, situation, StolenCandidate(situation.author, PayloadCodec(situation))
        ),
    ),
    _entry("worst-candidate", "submits the worst that it can find, with a true claim", "twice the memory and time", _worst),
    _entry(
        "unverifiable-index",
        "submits a mutation that a search never comes to, with the claim of another",
        _NONE,
        lambda values, learner, situation: _lying(learner, situation, UnverifiableIndex(PayloadCodec(situation))),  # noqa: ARG005
    ),
    _entry(
        "scores-inverted",
        "scores the best as the worst",
        _NONE,
        lambda values, learner, situation: InterceptedLearner(learner, ScoresInverted(PayloadCodec(situation))),  # noqa: ARG005
        consensus=Consensus.TOTAL_ORDER,
    ),
    _entry(
        "colluding-scorers",
        "scores the candidates of all liars as high as can be, all others as low",
        "who the other liars are",
        lambda values, learner, situation: InterceptedLearner(  # noqa: ARG005
            learner, ColludingScorers(situation)
        ),
        consensus=Consensus.TOTAL_ORDER,
    ),
    _entry(
        "free-rider",
        "never searches",
        _NONE,
        _free_rider,
    ),
    _of_lists(
        "reversed-lists",
        "submits the worst mutations as the best, found with `effort` times the search",
        "as many more cores",
        lambda situation: OtherLists(reversed_list, PayloadCodec(situation)),
        FaultParameter(EFFORT, 8, 1, 100, is_whole=True),
    ),
    _of_lists(
        "poor-lists",
        "mixes each list with its reverse, until its direction gains hardly anything",
        "the time for half a dozen measurements",
        PoorLists,
    ),
    _of_lists(
        "wrong-winner",
        "submits its lists for entries that it does not expect to win",
        _NONE,
        lambda situation: WrongWinner(PayloadCodec(situation)),
    ),
)
"""In the order in which they are shown."""
