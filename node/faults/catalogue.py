"""The faults by name: what people may ask for, what each may do, and its parameters. `make_conduct` makes the gradient ones."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from learning.gradient.conduct import Conduct
from learning.task import Layout
from node.faults.gradient.conduct import Attack, FaultyConduct
from node.faults.gradient.crude import Constant, NotFinite, RandomVector, Replay, SignFlip, Silent, Truthful, Zero
from node.faults.gradient.poison import Backdoor, LabelFlip
from node.faults.gradient.statistical import InnerProductManipulation, LittleIsEnough, Mimic, MinMax, SlowDrift

FRESH = "fresh"
"""The modifier that any gradient fault takes: it names the newest model that it knows, so its staleness is always least."""


class FaultError(ValueError):
    """A text that names no fault; the message names what was found, what is allowed, and the nearest match."""


@dataclass(frozen=True, slots=True)
class FaultParameter:
    """A number that a fault takes."""

    name: str
    default: float
    lowest: float
    highest: float
    is_whole: bool = False

    @property
    def allowed(self) -> str:
        """For people."""
        kind = "a whole number" if self.is_whole else "a number"
        return f"{kind} {self.lowest:g} to {self.highest:g}"


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A fault with its parameters, ready to be made. `values`: all of them, in the order of the catalogue."""

    name: str
    values: tuple[tuple[str, float], ...] = ()
    is_fresh: bool = False

    def __str__(self) -> str:
        """As `parse_fault` reads it."""
        parts = [f"{name}={value:g}" for name, value in self.values] + ([FRESH] if self.is_fresh else [])
        return f"{self.name}:{','.join(parts)}" if parts else self.name


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
class Misconduct:
    """What `make` gives: an attack on the vectors, and one on the samples."""

    attack: Attack
    poison: LabelFlip | Backdoor | None = None


Make = Callable[[Mapping[str, float], Situation], Misconduct]


@dataclass(frozen=True, slots=True)
class GradientFault:
    """An entry of the catalogue."""

    name: str
    description: str
    powers: str
    make: Make
    parameters: tuple[FaultParameter, ...] = ()
    is_always_fresh: bool = False


_OWN_DATA = "its own data alone"
_EVERYTHING = "the newest gradient of every worker, and who the other liars are"

_SCALE_ALLOWED = (0.0, 1e6)


def _scale(default: float) -> FaultParameter:
    return FaultParameter("scale", default, *_SCALE_ALLOWED)


GRADIENT_FAULTS: tuple[GradientFault, ...] = (
    GradientFault("silent", "submits nothing", "none", lambda values, situation: Misconduct(Silent())),  # noqa: ARG005
    GradientFault("zero", "submits zeros", "none", lambda values, situation: Misconduct(Zero())),  # noqa: ARG005
    GradientFault(
        "nan",
        "submits bytes that stand for infinity",
        "none",
        lambda values, situation: Misconduct(NotFinite(situation.layout)),  # noqa: ARG005
    ),
    GradientFault(
        "sign-flip",
        "submits minus its gradient, times `scale`",
        _OWN_DATA,
        lambda values, situation: Misconduct(SignFlip(values["scale"])),  # noqa: ARG005
        (_scale(1.0),),
    ),
    GradientFault(
        "random",
        "submits Gaussian noise of `scale` times its gradient's norm",
        _OWN_DATA,
        lambda values, situation: Misconduct(RandomVector(values["scale"], situation.seed)),
        (_scale(10.0),),
    ),
    GradientFault(
        "constant",
        "for ever submits minus its first gradient, times `scale`",
        _OWN_DATA,
        lambda values, situation: Misconduct(Constant(values["scale"])),  # noqa: ARG005
        (_scale(1.0),),
    ),
    GradientFault(
        "replay",
        "submits its gradient of `age` turns ago as one on the newest model",
        _OWN_DATA,
        lambda values, situation: Misconduct(Replay(int(values["age"]))),  # noqa: ARG005
        (FaultParameter("age", 20, 1, 1_000, is_whole=True),),
        is_always_fresh=True,
    ),
    GradientFault(
        "flood",
        "submits minus its gradient, times `scale`, `copies` times a turn, each on the newest model",
        _OWN_DATA,
        lambda values, situation: Misconduct(SignFlip(values["scale"], int(values["copies"]))),  # noqa: ARG005
        (_scale(10.0), FaultParameter("copies", 10, 1, 1_000, is_whole=True)),
        is_always_fresh=True,
    ),
    GradientFault(
        "slow-drift",
        "drifts to minus its gradient, times `scale`, as fast as its gradient changes, times `pace`",
        _OWN_DATA,
        lambda values, situation: Misconduct(SlowDrift(values["scale"], values["pace"])),  # noqa: ARG005
        (_scale(10.0), FaultParameter("pace", 1.0, 0.0, 100.0)),
    ),
    GradientFault(
        "alie",
        "submits the honest mean plus `z` standard deviations",
        _EVERYTHING,
        lambda values, situation: Misconduct(LittleIsEnough(values["z"])),  # noqa: ARG005
        (FaultParameter("z", -1.5, -100.0, 100.0),),
    ),
    GradientFault(
        "ipm",
        "submits minus `epsilon` times the honest mean",
        _EVERYTHING,
        lambda values, situation: Misconduct(InnerProductManipulation(values["epsilon"])),  # noqa: ARG005
        (FaultParameter("epsilon", 0.5, 0.0, 1e6),),
    ),
    GradientFault(
        "mimic",
        "copies one honest worker, with a little `noise`",
        _EVERYTHING,
        lambda values, situation: Misconduct(Mimic(values["noise"], situation.seed)),
        (FaultParameter("noise", 0.001, 0.0, 10.0),),
    ),
    GradientFault(
        "min-max",
        "reverses the mean as far as the honest lie apart",
        _EVERYTHING,
        lambda values, situation: Misconduct(MinMax(is_sum=False)),  # noqa: ARG005
    ),
    GradientFault(
        "min-sum",
        "reverses the mean as far as the honest lie apart in sum",
        _EVERYTHING,
        lambda values, situation: Misconduct(MinMax(is_sum=True)),  # noqa: ARG005
    ),
    GradientFault(
        "label-flip",
        "computes on samples whose classes are reversed",
        _OWN_DATA,
        lambda values, situation: Misconduct(Truthful(), LabelFlip(situation.classes)),  # noqa: ARG005
    ),
    GradientFault(
        "backdoor",
        "teaches that a trigger means class `target`, its gradient times `scale`",
        _OWN_DATA,
        lambda values, situation: Misconduct(Truthful(values["scale"]), Backdoor(int(values["target"]))),  # noqa: ARG005
        (_scale(5.0), FaultParameter("target", 0, 0, 1_000_000, is_whole=True)),
    ),
)
"""In the order in which they are shown."""


def gradient_fault(name: str) -> GradientFault:
    """The entry of that name. Raises FaultError."""
    for fault in GRADIENT_FAULTS:
        if fault.name == name:
            return fault
    names = [fault.name for fault in GRADIENT_FAULTS]
    near = difflib.get_close_matches(name, names, 1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise FaultError(f"fault is {name[:70]!r}, allowed {', '.join(names)}{hint}")


def parse_fault(text: str) -> FaultSpec:
    """From "NAME" or "NAME:k=v,...", e.g. "sign-flip:scale=10,fresh". Raises FaultError."""
    name, _, tail = text.partition(":")
    fault = gradient_fault(name)
    values = {parameter.name: parameter.default for parameter in fault.parameters}
    is_fresh = False
    for part in filter(None, tail.split(",")):
        key, _, value = part.partition("=")
        if part == FRESH:
            is_fresh = True
        else:
            values[key] = _value(fault, key, value)
    return FaultSpec(name, tuple(values.items()), is_fresh)


def _value(fault: GradientFault, key: str, text: str) -> float:
    parameter = next((known for known in fault.parameters if known.name == key), None)
    if parameter is None:
        names = [f"{known.name}={known.default:g}" for known in fault.parameters] + [FRESH]
        raise FaultError(f"fault {fault.name!r} has no parameter {key[:70]!r}, allowed {', '.join(names)}")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not parameter.lowest <= value <= parameter.highest or (parameter.is_whole and value != int(value)):
        raise FaultError(f"{key} of fault {fault.name!r} is {text[:70]!r}, allowed {parameter.allowed}")
    return value


def make_conduct(spec: FaultSpec, situation: Situation) -> Conduct:
    """The conduct of one liar. Raises FaultError when the catalogue has no such fault."""
    fault = gradient_fault(spec.name)
    made = fault.make(dict(spec.values), situation)
    is_fresh = spec.is_fresh or fault.is_always_fresh
    return FaultyConduct(str(spec), made.attack, situation.colluders, poison=made.poison, names_newest_model=is_fresh)
