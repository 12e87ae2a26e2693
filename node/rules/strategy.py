"""The two presets of the evolutionary search, by name."""

from enum import StrEnum


class Strategy(StrEnum):
    """Which child a generation makes of its best mutations."""

    COMMA = "comma"
    """The published (1,λ)-search: the best mutation alone is the next model (arXiv 2304.13540)."""
    RECOMBINATION = "recombination"
    """A rank-weighted mean of up to 16 of the best: about a third of the generations on digits."""
