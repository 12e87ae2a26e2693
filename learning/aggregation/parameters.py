"""What may be written after a rule's name: the kinds of parameters, and how a person's text becomes the one canonical text."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Protocol

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
