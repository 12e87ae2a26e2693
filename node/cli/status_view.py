"""One peer's status as a person reads it: a pure function of what the peer tells."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.cli.figures import UNKNOWN, count, percent, short
from node.status import NodeStatus

NOTES_SHOWN_MAX = 8
"""What fits under the figures on a small terminal; all notes are in --json and in the log."""


def status_view(status: NodeStatus) -> RenderableType:
    """All figures as two columns, then the peers, then what went wrong."""
    figures = Table.grid(padding=(0, 2))
    figures.add_column(style="bold", no_wrap=True)
    figures.add_column(overflow="fold")
    for name, value in _figures(status):
        figures.add_row(name, Text(value))
    return Group(figures, *_peers(status), *_notes(status))


def _figures(status: NodeStatus) -> Iterator[tuple[str, str]]:
    role = "  (observer)" if status.is_observer else ""
    yield "peer", f"{status.peer_id}{role}"
    yield "network", f"{status.network_id}  ({status.network_name})" if status.network_name else status.network_id
    yield "task", status.task or UNKNOWN
    yield "listens", status.listen or UNKNOWN
    yield "height", f"{count(status.height)}  (final: {count(status.final_height)})"
    yield "head", status.head or UNKNOWN
    yield "model", status.state_digest or UNKNOWN
    yield "fitness", UNKNOWN if status.fitness is None else f"{status.fitness:.6f}"
    for name, value in sorted(status.metrics.items()):
        is_share = name.endswith("accuracy")
        yield name.replace("_", " "), percent(value) if is_share else f"{value:g}"
    yield "blocks led", f"{status.blocks_led:,}  (contested: {status.blocks_contested:,})"
    yield "candidates/s", count(status.candidates_per_second)
    yield "loop lag", UNKNOWN if status.loop_lag_p99_ms is None else f"{status.loop_lag_p99_ms:.1f} ms (99th percentile)"
    yield "memory", UNKNOWN if status.rss_mb is None else f"{status.rss_mb:.0f} MB"
    yield "sent", f"{status.bytes_sent / 1e6:.1f} MB"
    yield "runs since", UNKNOWN if status.uptime_s is None else f"{status.uptime_s:,.0f} s"
    yield "version", status.version


def _peers(status: NodeStatus) -> Iterator[RenderableType]:
    yield Text(f"\n{len(status.peers)} connected {'peer' if len(status.peers) == 1 else 'peers'}", style="bold")
    for peer in status.peers:
        yield Text(f"  {short(peer.peer_id)}  {peer.address}{_direction(peer.is_outgoing)}")


def _direction(is_outgoing: bool | None) -> str:
    if is_outgoing is None:
        return ""
    return "  (we dialled)" if is_outgoing else "  (it dialled)"


def _notes(status: NodeStatus) -> Iterator[RenderableType]:
    if status.last_error is not None:
        yield Text(f"\nlast error: {status.last_error}", style="red")
    if status.notes:
        yield Text("\nnotes, oldest first", style="bold")
        yield from (Text(f"  {note}") for note in status.notes[-NOTES_SHOWN_MAX:])
