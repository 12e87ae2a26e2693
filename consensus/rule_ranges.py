"""The rules that all peers of a network share are integers, each within a range."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class RulesError(ValueError):
    """A rule is out of its range; the message names it, its value and the range."""


def check_ranges(rules: "DataclassInstance", ranges: Mapping[str, tuple[int, int]]) -> None:
    """Raises RulesError for the first field that is not within its range, the ends included. Each field has one."""
    for field in fields(rules):
        low, high = ranges[field.name]
        value = getattr(rules, field.name)
        if not low <= value <= high:
            raise RulesError(f"{field.name} is {value}, allowed: {low} to {high}")
