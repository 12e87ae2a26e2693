"""A testnet as a person watches it: what the screen shows is a pure function of a snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from node.common.goal import MetricGoal
from node.common.wording import UNKNOWN, count, goal_bound, metric, metric_name, percent, short

WIDE_COLUMNS = 100
"""From this width on there is room for an error's text beside the figures."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """One peer of a testnet. None: not known (yet). Digests are hexadecimal, accuracy is 0 to 1."""

    name: str
    state: str = "starting"
    """"absent", "starting", "running", "silent", "paused", "killed" or "stopped"."""
    height: int | None = None
    head: str | None = None
    fitness: float | None = None
    test_accuracy: float | None = None
    candidates_per_second: float | None = None
    blocks_led: int | None = None
    peers_connected: int | None = None
    last_error: str | None = None
    accepted: float | None = None
    """Gradients: the share of its own that were accepted, as the peer itself has seen it."""
    conduct: str | None = None
    """How it misbehaves, and its group where there is a partition."""
    has_say: bool = True
    """It can tell what it holds, and is trusted: an honest peer that runs."""
    learner_busy: float | None = None
    """The share of the last minute in which the learner did not wait."""
    ordering_share: float | None = None
    """The event loop's part of the peer's processor time."""

    @property
    def remarks(self) -> str | None:
        """What is to be said of it in words."""
        return "; ".join(filter(None, (self.conduct, self.last_error))) or None


@dataclass(frozen=True, slots=True)
class TestnetView:
    """A snapshot of a whole testnet."""

    __test__ = False  # a class called Test... that pytest should not collect

    network_id: str
    elapsed_s: float
    deadline_s: float
    goal: MetricGoal
    peers: tuple[PeerView, ...]
    agreed_height: int | None = None
    """The highest step that all running peers hold with one and the same state; None before there is one."""
    agreed_digest: str | None = None
    agreed_figure: float | None = None
    """What it has of what the goal asks for."""
    disagreement: str | None = None
    """Why peers can never agree again, in words."""
    scenario: str = ""
    """What is played on the peers, instead of a goal."""
    order: str | None = None
    """Where a total order stands, in words."""
    is_gradient: bool = False
    """Learning is by gradients."""
    curves: tuple[str, ...] = ()
    """How figures of the agreed model have changed, each by its name."""


def render(view: TestnetView, columns: int = 120) -> RenderableType:
    """The screen: a header line, a table with one row per peer, and whether all agree. Remarks get lines where it is narrow."""
    is_wide = columns >= WIDE_COLUMNS
    remarks = () if is_wide else _remark_lines(view.peers)
    order = () if view.order is None else (Text(view.order, style="dim", overflow="fold"),)
    header = Text(_header(view), style="bold", overflow="fold")
    curves = (Text("  ".join(view.curves), style="dim", overflow="fold"),) if view.curves else ()
    return Group(header, _table(view, is_wide), *remarks, *order, *curves, _footer(view))


def plain_line(view: TestnetView) -> str:
    """The whole testnet on one line, for where there is no terminal."""
    peers = "  ".join(f"{peer.name} {_progress(peer)}" for peer in view.peers)
    order = "" if view.order is None else f"  ({view.order})"
    return f"{view.elapsed_s:5.0f} s  {peers}  {_agreement(view)}{order}"


class TestnetScreen:
    """Shows snapshots as they come: a live screen on a terminal, else one line for each. A context manager."""

    __test__ = False

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = Live(console=self._console, auto_refresh=False) if is_live else None

    def show(self, view: TestnetView) -> None:
        """Replace what the screen shows, or add a line."""
        if self._live is not None:
            self._live.update(render(view, self._console.width), refresh=True)
        else:
            self.say(plain_line(view))

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()


def _header(view: TestnetView) -> str:
    goal = f"goal {metric_name(view.goal.metric)} {goal_bound(view.goal)}"
    if view.scenario:
        goal = f"scenario {view.scenario}"
    return f"network {view.network_id[:16]}  {view.elapsed_s:.0f} of {view.deadline_s:.0f} s  {goal}"


def _table(view: TestnetView, is_wide: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("peer", no_wrap=True)
    rates = ("grad/s", "accepted") if view.is_gradient else ("cand/s", "led")
    for title in ("height", "head", "fitness", "test", *rates, "busy", "order", "links"):
        table.add_column(title, justify="left" if title == "head" else "right", no_wrap=True)
    if is_wide:
        table.add_column("remarks", overflow="fold")
    for peer in view.peers:
        remarks = (Text(peer.remarks or "", style="yellow"),) if is_wide else ()
        style = "" if peer.state in ("starting", "running") else "dim"
        table.add_row(*_figures(peer, is_gradient=view.is_gradient), *remarks, style=style)
    return table


def _figures(peer: PeerView, *, is_gradient: bool) -> tuple[Text, ...]:
    figures = (
        peer.name,
        count(peer.height) if peer.state == "running" else peer.state,
        short(peer.head),
        UNKNOWN if peer.fitness is None else f"{peer.fitness:.4f}",
        percent(peer.test_accuracy),
        count(peer.candidates_per_second),
        percent(peer.accepted) if is_gradient else count(peer.blocks_led),
        percent(peer.learner_busy),
        percent(peer.ordering_share),
        count(peer.peers_connected),
    )
    return tuple(Text(figure) for figure in figures)


def _remark_lines(peers: Sequence[PeerView]) -> tuple[Text, ...]:
    lines = (f"{peer.name}: {peer.remarks}" for peer in peers if peer.remarks is not None)
    return tuple(Text(line, style="yellow", overflow="fold") for line in lines)


def _footer(view: TestnetView) -> Text:
    if view.disagreement is not None:
        return Text(_agreement(view), style="bold red", overflow="fold")
    return Text(_agreement(view), style="green" if view.agreed_digest is not None else "dim", overflow="fold")


def _agreement(view: TestnetView) -> str:
    if view.disagreement is not None:
        return f"peers DISAGREE: {view.disagreement}"
    if view.agreed_digest is None:
        return "no common step yet"
    who = who_agrees(sum(peer.has_say for peer in view.peers), len(view.peers))
    agreed = f"{who} agree at height {count(view.agreed_height)} on state {view.agreed_digest[:16]}"
    if view.scenario or view.agreed_figure is None:
        return agreed
    return f"{agreed}: {metric(view.goal.metric, view.agreed_figure)} (goal: {goal_bound(view.goal)})"


def who_agrees(heard: int, count: int) -> str:
    """Whose word it is that all hold one state: honest peers that run have a say."""
    return "all" if heard == count else f"the {heard} of {count} with a say"


def _progress(peer: PeerView) -> str:
    if peer.state != "running":
        return peer.state
    return f"{count(peer.height)}/{percent(peer.test_accuracy)}"
