"""The faults by name: what people may ask for, how it is written, whether it fits a network, and how it is made."""

import difflib
import math
import re
from collections.abc import Iterable

from learning.evolution.rules import Strategy
from learning.following.line import LineLearner
from learning.gradient.stream import GradientStream
from learning.learner import Learner
from node.common.errors import NodeError
from node.common.wording import command_text
from node.lab.faults.consensus.entries import CONSENSUS_FAULTS
from node.lab.faults.consensus.interceptor import ReplicaSituation
from node.lab.faults.evolution.entries import EVOLUTION_FAULTS
from node.lab.faults.evolution.interceptor import InterceptedLearner, LearnerSituation
from node.lab.faults.fault import FRESH, Family, Fault, FaultError, FaultParameter, FaultSpec, has_lists
from node.lab.faults.gradient.conduct import Conduct, HonestConduct
from node.lab.faults.gradient.entries import GRADIENT_FAULTS, INCESSANT, GradientFault, Situation, gradient_conduct
from node.lab.faults.gradient.lying_learner import Incessant, OwnGradientsAreGood
from node.lab.faults.network.entries import NETWORK_FAULTS
from node.lab.faults.network.situation import Attack, NetworkSituation
from node.rules.network_rules import Consensus, Learning
from node.runtime.coupling import ReplicaPort

__all__ = [
    "CONSENSUS_FAULTS",
    "EVOLUTION_FAULTS",
    "FAULTS",
    "GRADIENT_FAULTS",
    "NETWORK_FAULTS",
    "Family",
    "FaultError",
    "FaultParameter",
    "FaultSpec",
    "GradientFault",
    "LearnerSituation",
    "NetworkSituation",
    "ReplicaSituation",
    "Situation",
    "attacks_of",
    "canonical_fault",
    "check_fault",
    "check_fits",
    "conduct_of",
    "fault_list",
    "fault_named",
    "faulty_learner",
    "faulty_replica",
    "make_conduct",
    "parse_fault",
    "parse_faults",
    "unashamed",
]


FAULTS: tuple[Fault[object], ...] = (*GRADIENT_FAULTS, *EVOLUTION_FAULTS, *CONSENSUS_FAULTS, *NETWORK_FAULTS)
"""In the order in which they are shown; no two have one name."""

NEAR_MAX = 3
"""Names told to who has misspelt one."""

LISTING = ("testnet", "--list-faults")
"""The command that lists the faults."""

_JOINT = re.compile(r"\+(?=[a-z])")
"""Between two faults of one peer; the plus of 1e+06 is followed by a digit."""


def fault_named(name: str) -> Fault[object]:
    """The entry of that name. Raises FaultError."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    near = difflib.get_close_matches(name, [fault.name for fault in FAULTS], NEAR_MAX, cutoff=0.6)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise FaultError(f"there is no fault {name[:70]!r}: {hint}{command_text(*LISTING)} lists all {len(FAULTS)}")


def parse_fault(text: str) -> FaultSpec:
    """From "NAME" or "NAME:k=v,...", e.g. "sign-flip:scale=10,fresh". Raises FaultError."""
    name, _, tail = text.partition(":")
    fault = fault_named(name)
    values = {parameter.name: parameter.default for parameter in fault.parameters}
    is_fresh = False
    given: set[str] = set()
    for part in filter(None, tail.split(",")):
        key, _, value = part.partition("=")
        if part == FRESH and fault.family is Family.GRADIENT:
            is_fresh = True
        else:
            if key in given:
                raise FaultError(f"{key} of fault {fault.name!r} is given twice")
            given.add(key)
            values[key] = _value(fault, key, value)
    return FaultSpec(name, tuple(values.items()), is_fresh)


def parse_faults(text: str) -> tuple[FaultSpec, ...]:
    """All faults of one peer, from "NAME[:k=v,...]+NAME[:k=v,...]"; none from the empty text. Raises FaultError."""
    specs = tuple(parse_fault(part) for part in _JOINT.split(text)) if text else ()
    for place, spec in enumerate(specs):
        if any(spec.name == other.name for other in specs[:place]):
            raise FaultError(f"fault {spec.name!r} is given twice")
    gradient = [spec.name for spec in specs if fault_named(spec.name).family is Family.GRADIENT]
    if len(gradient) > 1:
        raise FaultError(f"gradient faults are {' and '.join(gradient)}, allowed one: a worker submits one vector")
    return specs


def check_fits(spec: FaultSpec, consensus: Consensus, learning: Learning, strategy: Strategy) -> None:
    """Raises FaultError where a network of these kinds has nothing that the fault could change."""
    fault = fault_named(spec.name)
    if fault.learning not in (None, learning):
        raise FaultError(f"the fault {str(spec)!r} is one of {fault.learning} learning, and the network's is {learning}")
    if fault.consensus not in (None, consensus):
        raise FaultError(f"the fault {str(spec)!r} is one of {fault.consensus}, and the network's consensus is {consensus}")
    if fault.is_of_lists not in (None, has_lists(consensus, learning, strategy)):
        needed = "ranked lists, which the strategy joint over total-order has alone" if fault.is_of_lists else "claims"
        raise FaultError(f"the fault {str(spec)!r} is one of {needed}; the network's strategy is {strategy}, over {consensus}")


def faulty_replica(specs: Iterable[FaultSpec], replica: ReplicaPort, situation: ReplicaSituation) -> ReplicaPort:
    """The replica of a peer with these faults, the first one innermost; those of other families change nothing."""
    for spec in specs:
        for fault in CONSENSUS_FAULTS:
            if fault.name == spec.name:
                replica = fault.make(dict(spec.values), replica, situation)
    return replica


def faulty_learner(specs: Iterable[FaultSpec], learner: Learner, situation: LearnerSituation) -> Learner:
    """The learner of a peer with these faults, the first one innermost; those of other families change nothing."""
    for spec in specs:
        for fault in EVOLUTION_FAULTS:
            if fault.name == spec.name:
                learner = fault.make(dict(spec.values), learner, situation)
    return learner


def attacks_of(specs: Iterable[FaultSpec], situation: NetworkSituation) -> tuple[Attack, ...]:
    """What a peer with these faults does below all messages, besides all else; faults of other families add nothing."""
    faults = {fault.name: fault for fault in NETWORK_FAULTS}
    return tuple(faults[spec.name].make(dict(spec.values), situation) for spec in specs if spec.name in faults)


def make_conduct(spec: FaultSpec, situation: Situation) -> Conduct:
    """The conduct of one liar. Raises FaultError when the catalogue has no gradient fault of this name."""
    for fault in GRADIENT_FAULTS:
        if fault.name == spec.name:
            return gradient_conduct(fault, spec, situation)
    raise FaultError(f"fault is {spec.name!r}, allowed one of gradients")


def conduct_of(specs: Iterable[FaultSpec], situation: Situation) -> Conduct:
    """The conduct of a worker with these faults: honest, unless one of them is of the gradient family."""
    for spec in specs:
        if fault_named(spec.name).family is Family.GRADIENT:
            return make_conduct(spec, situation)
    return HonestConduct()


def unashamed(learner: Learner, specs: Iterable[FaultSpec], author: bytes) -> Learner:
    """The gradient learner of a peer with these faults: a liar passes on what its own learner finds wrong with its lies."""
    names = [spec.name for spec in specs if fault_named(spec.name).family is Family.GRADIENT]
    if INCESSANT in names and isinstance(learner, LineLearner) and isinstance(stream := learner.follower, GradientStream):
        return InterceptedLearner(learner, Incessant(lambda: stream.ledger))
    return InterceptedLearner(learner, OwnGradientsAreGood(author)) if names else learner


def _value(fault: Fault[object], key: str, text: str) -> float:
    parameter = next((known for known in fault.parameters if known.name == key), None)
    if parameter is None:
        fresh = [FRESH] if fault.family is Family.GRADIENT else []
        names = [f"{known.name}={known.default:g}" for known in fault.parameters] + fresh
        raise FaultError(f"fault {fault.name!r} has no parameter {key[:70]!r}, allowed {', '.join(names) or 'none'}")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not parameter.lowest <= value <= parameter.highest or (parameter.is_whole and value != int(value)):
        raise FaultError(f"{key} of fault {fault.name!r} is {text[:70]!r}, allowed {parameter.allowed}")
    return value


def fault_list() -> str:
    """All faults for people, a line each with what it does, under a line for each family."""
    width = max(len(fault.name) for fault in FAULTS)
    lines = []
    for family in Family:
        lines.append(f"{family}:")
        for fault in FAULTS:
            if fault.family is family:
                options = ",".join(f"{parameter.name}={parameter.default:g}" for parameter in fault.parameters)
                lines.append(f"  {fault.name:{width}}  {fault.description}{f' ({options})' if options else ''}")
    return "\n".join(lines)


def canonical_fault(text: str) -> str:
    """The faults with all their parameters, joined by +. Raises NodeError when there is none of a name."""
    try:
        return "+".join(str(spec) for spec in parse_faults(text))
    except FaultError as error:
        raise NodeError(f"--fault: {error}", "choose one that there is") from error


def check_fault(text: str, consensus: Consensus, learning: Learning, strategy: Strategy, fix: str) -> None:
    """Raises NodeError, with this advice, where a network of these kinds has nothing that one of the faults could change."""
    for spec in parse_faults(text):
        try:
            check_fits(spec, consensus, learning, strategy)
        except FaultError as error:
            raise NodeError(str(error), fix) from error
