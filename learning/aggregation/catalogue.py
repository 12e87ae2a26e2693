"""The rules by name: what people may ask for, as text, and the one canonical text that the network file commits to.

A text is `NAME` or `NAME:PARAMETER=VALUE,...`, e.g. "kardam:frequency=off,alpha=0.1". Imports nothing slow.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal, InvalidOperation
from typing import Protocol

from learning.aggregation.basgd import BUFFERS_MAX, Aggregate, Buffered
from learning.aggregation.kardam import Kardam
from learning.aggregation.robust import EXTRAPOLATION_DEFAULT, Robust
from learning.aggregation.rule import AggregationRule
from learning.aggregation.single_steps import ALPHA_DEFAULT, Dampened, Dampening, Mean, Scored

__all__ = [
    "CHARACTERS_MAX",
    "RULES",
    "Choice",
    "Number",
    "Parameter",
    "RuleEntry",
    "RuleError",
    "enumeration",
    "excerpt",
    "nearest",
    "needs_scores",
    "rule_named",
    "rule_text",
    "switch",
]


CHARACTERS_MAX = 40
"""A longer value is a mistake; 40 digits are far more than 16 significant bits show."""


class RuleError(ValueError):
    """A text that names no rule; the message names the parameter, the value found, what is allowed, and the nearest match."""


class Parameter(Protocol):
    """One parameter of a rule."""

    @property
    def name(self) -> str:
        """As the text calls it."""
        ...

    @property
    def default(self) -> str:
        """Canonical."""
        ...

    def canonical(self, text: str) -> str:
        """The one text of the value that `text` means. Raises RuleError."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a few. Implements `Parameter`."""

    name: str
    default: str
    words: tuple[str, ...]

    def canonical(self, text: str) -> str:
        """The word itself. Raises RuleError."""
        if text not in self.words:
            raise RuleError(f'{self.name} is "{excerpt(text)}", allowed {enumeration(self.words)}{nearest(text, self.words)}')
        return text


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal number within bounds, both allowed. Implements `Parameter`."""

    name: str
    default: str
    lowest: str
    highest: str
    is_whole: bool = False

    def canonical(self, text: str) -> str:
        """Plain digits without exponent, sign of zero or trailing zeros. Raises RuleError."""
        value = _decimal(text)
        if value is None or not Decimal(self.lowest) <= value <= Decimal(self.highest) or (self.is_whole and value % 1 != 0):
            kind = "a whole number" if self.is_whole else "a decimal number"
            raise RuleError(f'{self.name} is "{excerpt(text)}", allowed {kind} from {self.lowest} to {self.highest}')
        digits = f"{value:f}"
        plain = digits.rstrip("0").rstrip(".") if "." in digits else digits
        return plain.removeprefix("-") if value == 0 else plain


def switch(name: str) -> Choice:
    """A part of a rule that is on unless it is switched off."""
    return Choice(name, "on", ("on", "off"))


def excerpt(text: str) -> str:
    """A person's text, cut short for a message."""
    return text if len(text) <= CHARACTERS_MAX else text[:CHARACTERS_MAX] + "..."


def enumeration(words: Iterable[str]) -> str:
    """For a message: "a, b or c"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def nearest(text: str, words: Iterable[str]) -> str:
    """For the end of a message: the known word that was probably meant, if any."""
    found = difflib.get_close_matches(text[:CHARACTERS_MAX], list(words), 1, cutoff=0.5)
    return f'; did you mean "{found[0]}"?' if found else ""


def _decimal(text: str) -> Decimal | None:
    if len(text) > CHARACTERS_MAX:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A rule as people may ask for it."""

    description: str
    """One line."""
    learning_rate: str
    """The default to go with it: a decimal."""
    make: Callable[[Mapping[str, str]], AggregationRule]
    """From the canonical text of every parameter. The rule is a frozen dataclass whose fields are called as the parameters."""
    parameters: tuple[Parameter, ...] = ()
    needs_scores: bool = False
    """Whether members must measure every step: only where a total order collects their scores."""


def _alpha() -> Number:
    return Number("alpha", ALPHA_DEFAULT, "0.0001", "100")


RULES: Mapping[str, RuleEntry] = {
    "robust": RuleEntry(
        "the newest gradients of all workers, clipped, mixed with their nearest, and trimmed",
        "2",
        lambda values: Robust(values["extrapolation"]),
        (Number("extrapolation", EXTRAPOLATION_DEFAULT, "0", "10"),),
    ),
    "mean": RuleEntry(
        "every gradient moves the model: no defence",
        "0.15",
        lambda values: Mean(),  # noqa: ARG005  mean has no parameters
    ),
    "dampened": RuleEntry(
        "every gradient moves the model, stale ones less: no defence",
        "1",
        lambda values: Dampened(Dampening(values["dampening"]), values["alpha"]),
        (Choice("dampening", Dampening.INVERSE, tuple(Dampening)), _alpha()),
    ),
    "kardam": RuleEntry(
        "Kardam: filters gradients that grow too fast, and authors that come too often",
        "0.5",
        lambda values: Kardam(
            lipschitz=values["lipschitz"] == "on",
            frequency=values["frequency"] == "on",
            dampening=Dampening(values["dampening"]),
            alpha=values["alpha"],
            bootstrap=values["bootstrap"] == "on",
        ),
        (
            switch("lipschitz"),
            switch("frequency"),
            Choice("dampening", Dampening.EXPONENTIAL, tuple(Dampening)),
            _alpha(),
            switch("bootstrap"),
        ),
    ),
    "buffered": RuleEntry(
        "BASGD: workers share buffers, and the model moves against their median once none is empty",
        "3",
        lambda values: Buffered(int(values["buffers"]), Aggregate(values["aggregate"]), values["momentum"]),
        (
            Number("buffers", "0", "0", str(BUFFERS_MAX), is_whole=True),
            Choice("aggregate", Aggregate.MEDIAN, tuple(Aggregate)),
            Number("momentum", "0", "0", "0.999"),
        ),
    ),
    "scored": RuleEntry(
        "every step is measured by all members, and the median of their scores decides; needs a total order",
        "2",
        lambda values: Scored(),  # noqa: ARG005  scored has no parameters
        needs_scores=True,
    ),
}
"""In the order in which they are shown."""


def rule_named(text: str) -> AggregationRule:
    """The rule that a text means; parameters that are not given have their defaults. Raises RuleError."""
    name, colon, tail = text.partition(":")
    entry = RULES.get(name)
    if entry is None:
        raise RuleError(f'there is no rule "{excerpt(name)}", allowed {enumeration(RULES)}{nearest(name, RULES)}')
    given = _parse_values(name, entry, tail) if colon else {}
    return entry.make({parameter.name: given.get(parameter.name, parameter.default) for parameter in entry.parameters})


def rule_text(rule: AggregationRule) -> str:
    """The canonical text: every parameter in the catalogue's order, so that no default can change what a network means."""
    parts = _parts_of(rule)
    return f"{rule.name}:{','.join(parts)}" if parts else rule.name


def needs_scores(text: str) -> bool:
    """Whether the rule that a text means needs members who measure every step. Raises RuleError."""
    return RULES[rule_named(text).name].needs_scores


def _parts_of(rule: object) -> tuple[str, ...]:
    assert is_dataclass(rule), f"the rule {rule!r} is no dataclass"
    return tuple(f"{one.name}={_text_of(getattr(rule, one.name))}" for one in fields(rule))


def _parse_values(name: str, entry: RuleEntry, tail: str) -> dict[str, str]:
    known = {parameter.name: parameter for parameter in entry.parameters}
    given: dict[str, str] = {}
    for part in tail.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise RuleError(f'"{excerpt(part)}" after rule {name} is no parameter, expected NAME=VALUE')
        if key not in known:
            allowed = f"allowed {enumeration(known)}" if known else "it has none"
            raise RuleError(f'rule {name} has no parameter "{excerpt(key)}", {allowed}{nearest(key, known)}')
        if key in given:
            raise RuleError(f"parameter {key} of rule {name} is given twice")
        try:
            given[key] = known[key].canonical(value)
        except RuleError as error:
            raise RuleError(f"rule {name}: {error}") from error
    return given


def _text_of(value: bool | int | str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
