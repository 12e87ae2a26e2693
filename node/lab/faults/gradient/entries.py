"""The gradient faults by name."""

from collections.abc import Callable
from dataclasses import dataclass

from learning.task import Layout
from node.lab.faults.fault import Family, Fault, FaultParameter, FaultSpec, Values
from node.lab.faults.gradient.attacks import (
    Backdoor,
    Constant,
    InnerProductManipulation,
    LabelFlip,
    LittleIsEnough,
    Mimic,
    MinMax,
    NotFinite,
    OldGradient,
    RandomVector,
    SignFlip,
    Silent,
    SlowDrift,
    Truthful,
    Zero,
)
from node.lab.faults.gradient.conduct import Attack, Conduct, FaultyConduct
from node.rules.network_rules import Consensus, Learning


@dataclass(frozen=True, slots=True)
class Situation:
    """Who lies, and about what model."""

    author: bytes
    colluders: frozenset[bytes]
    """All liars' ids, the author's among them."""
    layout: Layout
    classes: int
    """Of the task's labels; 1 where labels are no classes."""
    seed: int


@dataclass(frozen=True, slots=True)
class GradientFault:
    """What `make` gives: an attack on the vectors, and one on the samples."""

    attack: Attack
    poison: LabelFlip | Backdoor | None = None
    is_always_fresh: bool = False


MakeMisconduct = Callable[[Values, Situation], GradientFault]

_OWN_DATA = "its own data alone"
_EVERYTHING = "the newest gradient of every worker, and who the other liars are"

_SCALE_ALLOWED = (0.0, 1e6)


def _scale(default: float) -> FaultParameter:
    return FaultParameter("scale", default, *_SCALE_ALLOWED)


def _entry(
    name: str, description: str, powers: str, make: MakeMisconduct, parameters: tuple[FaultParameter, ...] = ()
) -> Fault[MakeMisconduct]:
    return Fault(name, Family.GRADIENT, description, powers, make, parameters, learning=Learning.GRADIENT)


INCESSANT = "incessant"
"""What it does is done by its learner (`node.lab.faults.gradient.lying_learner.Incessant`)."""

GRADIENT_FAULTS: tuple[Fault[MakeMisconduct], ...] = (
    _entry("silent", "submits nothing", "none", lambda values, situation: GradientFault(Silent())),  # noqa: ARG005
    _entry("zero", "submits zeros", "none", lambda values, situation: GradientFault(Zero())),  # noqa: ARG005
    _entry(
        "nan",
        "submits bytes that stand for infinity",
        "none",
        lambda values, situation: GradientFault(NotFinite(situation.layout)),  # noqa: ARG005
    ),
    _entry(
        "sign-flip",
        "submits minus its gradient, times `scale`",
        _OWN_DATA,
        lambda values, situation: GradientFault(SignFlip(values["scale"])),  # noqa: ARG005
        (_scale(1.0),),
    ),
    _entry(
        "random",
        "submits Gaussian noise of `scale` times its gradient's norm",
        _OWN_DATA,
        lambda values, situation: GradientFault(RandomVector(values["scale"], situation.seed)),
        (_scale(10.0),),
    ),
    _entry(
        "constant",
        "for ever submits minus its first gradient, times `scale`",
        _OWN_DATA,
        lambda values, situation: GradientFault(Constant(values["scale"])),  # noqa: ARG005
        (_scale(1.0),),
    ),
    _entry(
        "replay",
        "submits its gradient of `age` turns ago as one on the newest model",
        _OWN_DATA,
        lambda values, situation: GradientFault(OldGradient(int(values["age"])), is_always_fresh=True),  # noqa: ARG005
        (FaultParameter("age", 20, 1, 1_000, is_whole=True),),
    ),
    _entry(
        "flood",
        "submits minus its gradient, times `scale`, `copies` times a turn, each on the newest model",
        _OWN_DATA,
        lambda values, situation: GradientFault(SignFlip(values["scale"], int(values["copies"])), is_always_fresh=True),  # noqa: ARG005
        (_scale(10.0), FaultParameter("copies", 10, 1, 1_000, is_whole=True)),
    ),
    Fault(
        INCESSANT,
        Family.GRADIENT,
        "submits its gradient with every commit, each on the newest model, however many are on their way",
        _OWN_DATA,
        lambda values, situation: GradientFault(Truthful()),  # noqa: ARG005
        consensus=Consensus.TOTAL_ORDER,
        learning=Learning.GRADIENT,
    ),
    _entry(
        "slow-drift",
        "drifts to minus its gradient, times `scale`, as fast as its gradient changes, times `pace`",
        _OWN_DATA,
        lambda values, situation: GradientFault(SlowDrift(values["scale"], values["pace"])),  # noqa: ARG005
        (_scale(10.0), FaultParameter("pace", 1.0, 0.0, 100.0)),
    ),
    _entry(
        "alie",
        "submits the honest mean plus `z` standard deviations",
        _EVERYTHING,
        lambda values, situation: GradientFault(LittleIsEnough(values["z"])),  # noqa: ARG005
        (FaultParameter("z", -1.5, -100.0, 100.0),),
    ),
    _entry(
        "ipm",
        "submits minus `epsilon` times the honest mean",
        _EVERYTHING,
        lambda values, situation: GradientFault(InnerProductManipulation(values["epsilon"])),  # noqa: ARG005
        (FaultParameter("epsilon", 0.5, 0.0, 1e6),),
    ),
    _entry(
        "mimic",
        "copies one honest worker, with a little `noise`",
        _EVERYTHING,
        lambda values, situation: GradientFault(Mimic(values["noise"], situation.seed)),
        (FaultParameter("noise", 0.001, 0.0, 10.0),),
    ),
    _entry(
        "min-max",
        "reverses the mean as far as the honest lie apart",
        _EVERYTHING,
        lambda values, situation: GradientFault(MinMax(is_sum=False)),  # noqa: ARG005
    ),
    _entry(
        "min-sum",
        "reverses the mean as far as the honest lie apart in sum",
        _EVERYTHING,
        lambda values, situation: GradientFault(MinMax(is_sum=True)),  # noqa: ARG005
    ),
    _entry(
        "label-flip",
        "computes on samples whose classes are reversed",
        _OWN_DATA,
        lambda values, situation: GradientFault(Truthful(), LabelFlip(situation.classes)),  # noqa: ARG005
    ),
    _entry(
        "backdoor",
        "teaches that a trigger means class `target`, its gradient times `scale`",
        _OWN_DATA,
        lambda values, situation: GradientFault(Truthful(values["scale"]), Backdoor(int(values["target"]))),  # noqa: ARG005
        (_scale(5.0), FaultParameter("target", 0, 0, 1_000_000, is_whole=True)),
    ),
)
"""In the order in which they are shown."""


def gradient_conduct(fault: Fault[MakeMisconduct], spec: FaultSpec, situation: Situation) -> Conduct:
    """The conduct of one liar."""
    made = fault.make(dict(spec.values), situation)
    is_fresh = spec.is_fresh or made.is_always_fresh
    return FaultyConduct(str(spec), made.attack, situation.colluders, poison=made.poison, names_newest_model=is_fresh)
