"""Tables as markdown, line plots as SVG text, drawn by matplotlib without a screen; and what may be asked of a comparison."""

import importlib.util
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.common.errors import NodeError

if TYPE_CHECKING:  # an optional extra
    from matplotlib.axes import Axes

SIZE_INCHES = (7.5, 4.5)

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""


BACKGROUND = "#fcfcfa"
"""Light, whatever the page that shows the plot is like: its text is dark."""

LEVEL_COLOUR = "#777777"


@dataclass(frozen=True, slots=True)
class Line:
    """One curve. `points`: (x, y), ascending in x."""

    label: str
    points: tuple[tuple[float, float], ...]
    is_dashed: bool = False
    intervals: tuple[tuple[float, float], ...] = ()
    """Lowest and highest y that each point may have: drawn as bars, and then the points are not joined."""


@dataclass(frozen=True, slots=True)
class Level:
    """A value of y that curves are compared with: a dashed line with its name."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. Lines without points are left out."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    level: Level | None = None
    is_share: bool = False
    """Whether y is 0 to 1: then the axis is in percent, and whole."""


def check_plots() -> None:
    """Raises NodeError where matplotlib is not installed: before hours of runs, not after them."""
    if importlib.util.find_spec("matplotlib") is None:
        raise NodeError("the plots need matplotlib", f'{sys.executable} -m pip install -c constraints.txt -e ".[plots]"')


def line_plot(title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> str:
    """The SVG document of a single panel."""
    return panel_plot((Panel(title, x_label, y_label, tuple(lines)),))


def panel_plot(panels: Sequence[Panel], title: str = "") -> str:
    """The SVG document, the same for the same points; y axes start at 0 or below. Panels side by side have the same lines."""
    import matplotlib as mpl  # noqa: PLC0415 - an optional extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(SIZE_INCHES[0] * len(panels), SIZE_INCHES[1]), layout="constrained", facecolor=BACKGROUND)
    if title:
        figure.suptitle(title)
    for place, panel in enumerate(panels, start=1):
        _draw(figure.add_subplot(1, len(panels), place), panel)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper")
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "kubrat", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _draw(axes: "Axes", panel: Panel) -> None:
    drawn = [line for line in panel.lines if line.points]
    assert drawn, f"the plot {panel.title!r} has no points"
    for number, line in enumerate(drawn):
        xs, ys = zip(*line.points, strict=True)
        style = "--" if line.is_dashed else "o" if line.intervals else "o-"
        axes.plot(xs, ys, style, color=COLOURS[number % len(COLOURS)], label=line.label, markersize=4)
        for x, (lowest, highest) in zip(xs, line.intervals, strict=False):
            axes.plot((x, x), (lowest, highest), "-", color=COLOURS[number % len(COLOURS)], linewidth=1)
    if panel.level is not None:
        axes.axhline(panel.level.value, color=LEVEL_COLOUR, linestyle="--", linewidth=1, label=panel.level.label)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    if panel.is_share:
        axes.set_ylim(0.0, 1.0)
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.grid(alpha=0.3)


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


class ReproduceError(ValueError):
    """What was asked for is out of range; the message names the field, the value found and what is allowed."""


def check_request(parts: Sequence[str], allowed: Sequence[str], seeds: int, processes: int) -> None:
    """Raises ReproduceError, and NodeError where nothing could be drawn: before hours of runs, not after them."""
    unknown = [part for part in parts if part not in allowed]
    if unknown or not parts:
        raise ReproduceError(f"parts are {', '.join(unknown) or 'none'}, allowed {', '.join(allowed)}")
    if seeds < 1 or processes < 1:
        raise ReproduceError(f"seeds is {seeds} and processes {processes}, allowed 1 or more of each")
    check_plots()
