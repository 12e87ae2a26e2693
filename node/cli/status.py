"""`status`: what a running peer does, as figures for a person, or as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.api.status import ClockStatus, GradientStatus, NodeStatus, OrderStatus
from node.cli.api_client import fetch, fetch_from_folder
from node.cli.arguments import FOLDER, PEER_ADDRESS
from node.common.address import Address
from node.common.errors import NodeError
from node.common.goal import FITNESS
from node.common.sparkline import sparkline
from node.common.wording import UNKNOWN, count, counted, duration, finality, metric_name, metric_value, percent, short

STALENESS_BAR = 40
"""Characters of the longest bar of the histogram."""

CLOCKS_APART_MS = 5_000
"""Blocks are a second old when they come, or a few on slow lines; a clock that is put right by the network is off by less."""

NOTES_SHOWN_MAX = 8
"""What fits under the figures on a small terminal; all notes are in --json and in the log."""


def status_view(status: NodeStatus) -> RenderableType:
    """All figures as two columns, then the peers, then what went wrong."""
    figures = Table.grid(padding=(0, 2))
    figures.add_column(style="bold", no_wrap=True)
    figures.add_column(overflow="fold")
    for name, value in _figures(status):
        figures.add_row(name, Text(value))
    return Group(figures, *_slate(status), *_workers(status), *_peers(status), *_notes(status))


def _figures(status: NodeStatus) -> Iterator[tuple[str, str]]:
    is_outsider = status.order is not None and all(member.peer_id != status.peer_id for member in status.order.members)
    role = "  (observer)" if status.is_observer else "  (no member: it follows only)" if is_outsider else ""
    yield "peer", f"{status.peer_id}{role}"
    yield "network", f"{status.network_id}  ({status.network_name})" if status.network_name else status.network_id
    yield "task", status.task or UNKNOWN
    yield "listens", status.listen or UNKNOWN
    yield "height", count(status.height)
    yield "final", finality(status.height, status.final_height, status.finality_depth)
    yield "head", status.head or UNKNOWN
    yield "model", status.state_digest or UNKNOWN
    if status.behind_by:
        yield "behind by", counted(status.behind_by, "block" if status.order is None else "commit")
    if status.waiting_for_payloads:
        yield "learner waits for", status.waiting_for_payloads
    if status.order is not None and status.order.learner_behind:
        yield (
            "learner",
            f"{counted(status.order.learner_behind, 'commit')} behind; our blocks come more slowly",
        )
    fitness = UNKNOWN if status.fitness is None else f"{status.fitness:.6f}"
    yield "fitness", _with_curve(fitness, status.curves.get(FITNESS, ()))
    for name, value in sorted(status.metrics.items()):
        yield metric_name(name), _with_curve(metric_value(name, value), status.curves.get(name, ()))
    if status.order is None:
        yield "blocks led", f"{status.blocks_led:,}  (contested: {status.blocks_contested:,})"
    else:
        yield from _order_figures(status, status.order)
    yield "gradients/s" if status.rule else "candidates/s", count(status.candidates_per_second)
    if status.task_faults:
        yield "task failed", "once" if status.task_faults == 1 else f"{status.task_faults:,} times; the log says how"
    yield from _time_figures(status)
    if status.rule:
        yield "rule", status.rule
    if status.fault:
        yield "misbehaves", status.fault
    yield from _clock_figures(status.clock)
    yield "loop lag", UNKNOWN if status.loop_lag_p99_ms is None else f"{status.loop_lag_p99_ms:.1f} ms (99th percentile)"
    yield "memory", UNKNOWN if status.rss_mb is None else f"{status.rss_mb:.0f} MB"
    yield "sent", f"{status.bytes_sent / 1e6:.1f} MB"
    yield "runs for", UNKNOWN if status.uptime_s is None else duration(status.uptime_s)
    yield "version", status.version


def _with_curve(figure: str, values: Sequence[float]) -> str:
    """The figure of now, and how it came there."""
    return f"{figure:<9}  {spark}" if (spark := sparkline(values)) else figure


def _time_figures(status: NodeStatus) -> Iterator[tuple[str, str]]:
    """What the learner did in the last minute, and what agreeing has cost since the start."""
    learner, processor = status.learner_minute, status.processor
    if learner is not None:
        parts = f"ranking {percent(learner.ranking)}, scoring {percent(learner.scoring)}"
        yield "learner time", f"busy {percent(learner.busy)} ({parts}), waiting {percent(learner.waiting)}"
    if processor is not None and processor.ordering_share is not None:
        seconds = f"store {processor.store_s:.1f} s of {processor.ordering_s:.1f} s"
        yield "ordering", f"{percent(processor.ordering_share)} of the peer's processor time ({seconds})"


def _clock_figures(clock: ClockStatus) -> Iterator[tuple[str, str]]:
    """Only what is wrong with it."""
    if clock.jumps:
        times = "once" if clock.jumps == 1 else f"{clock.jumps:,} times"
        yield "clock jumped", f"{times}, last by {clock.last_jump_ms / 1000:+,.1f} s (or the machine slept)"
    ahead_ms = clock.peers_ahead_ms
    if ahead_ms is not None and abs(ahead_ms) >= CLOCKS_APART_MS:
        side = "behind" if ahead_ms > 0 else "ahead of"
        yield "clock is wrong?", f"{abs(ahead_ms) / 1000:,.1f} s {side} the blocks of most connected peers"


def _order_figures(status: NodeStatus, order: OrderStatus) -> Iterator[tuple[str, str]]:
    yield "round", f"{order.round:,}  (our own last: {order.own_round:,})"
    yield "commits", f"{order.commits:,}  (leader slots skipped: {order.slots_skipped:,})"
    yield "leader timeout", f"{order.timeout_ms:,} ms"
    if not status.rule:
        yield "had a part in", counted(status.blocks_led, "generation")
    generation = status.generation
    if generation is not None:
        yield "generation", f"{generation.height + 1:,}: {generation.phase} of {len(generation.counted)} of {generation.needed}"
    if order.waiting_for:
        yield "waiting for", waiting_text(order)
    if order.equivocators:
        yield "contradicted themselves", ", ".join(short(peer) for peer in order.equivocators)


def waiting_text(order: OrderStatus, names: Mapping[str, str] | None = None) -> str:
    """Whom a quorum lacks: "2 of 4 members: 1f3a, 9c0d"; `names` by peer id, else short ids."""
    named = ", ".join((names or {}).get(peer, short(peer)) for peer in order.waiting_for)
    return f"{len(order.waiting_for)} of {len(order.members)} members: {named}"


def _slate(status: NodeStatus) -> Iterator[RenderableType]:
    """How the last generation was decided: each candidate's claim, what was agreed, what we measured."""
    generation = status.generation
    if generation is None or not generation.slate:
        return
    yield Text(f"\nlast slate, scored by {len(generation.scorers)}", style="bold")
    table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim")
    table.add_column("author")
    for title in ("claimed", "agreed", "measured here"):
        table.add_column(title, justify="right")
    for place, entry in enumerate(generation.slate):
        author = "" if entry.author is None else short(entry.author)
        candidate = " ".join(filter(None, (author, entry.label))) or "no change"
        figures = (UNKNOWN if value is None else f"{value:.6f}" for value in (entry.claimed, entry.agreed, entry.measured))
        table.add_row(candidate, *figures, style="green" if place == generation.winner else "")
    yield table
    for reason, times in sorted(generation.ignored.items()):
        yield Text(f"  ignored {times:,}: {reason}")


def _workers(status: NodeStatus) -> Iterator[RenderableType]:
    """Whose gradients were taken, what became of the others, and how stale they came."""
    gradients = status.gradients
    if gradients is None or not gradients.workers:
        return
    table = Table(title="gradients by worker", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("worker", no_wrap=True)
    for title in ("delivered", "accepted", "weight"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("what became of them", overflow="fold")
    for worker in gradients.workers:
        outcomes = ", ".join(f"{reason}: {number:,}" for reason, number in worker.outcomes.items())
        share = percent(worker.accepted / worker.delivered if worker.delivered else None)
        name = short(worker.peer_id) if worker.peer_id else "others"
        table.add_row(name, f"{worker.delivered:,}", share, f"{worker.weight:.3f}", Text(outcomes))
    yield table
    yield from _staleness(gradients)


def _staleness(gradients: GradientStatus) -> Iterator[RenderableType]:
    """A bar for each bin that holds something."""
    most = max(gradients.staleness.values(), default=0)
    if most == 0:
        return
    table = Table(title="staleness, in steps of the model", title_justify="left", title_style="bold", box=None)
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("gradients", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for low, number in gradients.staleness.items():
        if number:
            table.add_row(low, f"{number:,}", Text("\N{FULL BLOCK}" * max(1, round(STALENESS_BAR * number / most))))
    yield table


def _peers(status: NodeStatus) -> Iterator[RenderableType]:
    yield Text(f"\n{counted(len(status.peers), 'connected peer')}", style="bold")
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


STATUS_PATH = "/v1/status"


@click.command("status")
@click.option("--data-dir", type=FOLDER, help="The peer's folder.")
@click.option("--api", type=PEER_ADDRESS, help="The address of the peer's API, instead of its folder.")
@click.option("--json", "is_json", is_flag=True, help="Print the peer's answer as it is.")
def command(data_dir: Path | None, api: Address | None, is_json: bool) -> None:
    """Show what a running peer does. Exit code 3: no peer runs there."""
    answer = _answer(data_dir, api)
    if is_json:
        click.echo(answer.decode())
    else:
        _show(status_view(_decode(answer)))


def _answer(data_dir: Path | None, api: Address | None) -> bytes:
    if (data_dir is None) == (api is None):
        raise click.UsageError("give either --data-dir DIR or --api HOST:PORT")
    if api is not None:
        return fetch(api, STATUS_PATH)
    assert data_dir is not None
    return fetch_from_folder(data_dir, STATUS_PATH)


def _decode(answer: bytes) -> NodeStatus:
    try:
        return msgspec.json.decode(answer, type=NodeStatus)
    except msgspec.DecodeError as error:
        raise NodeError(f"the peer's answer is not a status: {error}", "use the same version here as the peer's") from error


def _show(view: RenderableType) -> None:
    with Console() as console:
        console.print(view)
