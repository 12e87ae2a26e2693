"""Tables as markdown."""

from collections.abc import Sequence


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with its columns aligned, so that it reads as text, too."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    ruler = ["-" * width for width in widths]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in [lines[0], ruler, *lines[1:]]]
    return "".join(f"| {' | '.join(line)} |\n" for line in padded)


def percent(share: float) -> str:
    """To a tenth."""
    return f"{100 * share:.1f} %"
