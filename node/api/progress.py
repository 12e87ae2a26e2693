"""What a running peer's log says of its way: what it waits for, how far it is behind, and how it learns."""

from enum import Enum, auto

from node.api.status import NodeStatus, OrderStatus
from node.common.wording import counted, metric, short

LINE_SECONDS_MIN = 5.0
"""The first line after the start, or after a change: as long as a person waits before thinking that it hangs."""

LINE_SECONDS_MAX = 60.0
"""While all goes its way; each interval before is twice the last."""

LASTING_SECONDS = 3.0
"""A change is told once it has lasted so long: what is over by then is no news."""

BEHIND_MIN = 10
"""Blocks or commits; fewer are on their way at any time."""

NAMED_MAX = 5
"""Members that are waited for; a network may have 200."""


class Stage(Enum):
    """What a person would want to hear of at once when it changes."""

    LACKS_PEERS = auto()
    CATCHES_UP = auto()
    STANDS_STILL = auto()
    HAS_NO_STEP = auto()
    GOES_ON = auto()


class ProgressLog:
    """When there is a line to write: at the first step and at each change that lasts, else more and more seldom."""

    def __init__(self, now_s: float) -> None:
        self._logged: Stage | None = None
        self._logged_at = self._since_s = now_s
        self._stage: Stage | None = None
        self._has_gone_on = False
        self._interval_s = LINE_SECONDS_MIN

    def line(self, status: NodeStatus, now_s: float) -> str | None:
        """The line of now, by a clock that never goes back; None where nothing is to be said yet."""
        stage = stage_of(status)
        if stage is not self._stage:
            self._stage, self._since_s = stage, now_s
        is_news = stage is not self._logged
        is_first_step = stage is Stage.GOES_ON and not self._has_gone_on
        is_lasting = now_s - self._since_s >= LASTING_SECONDS or not is_news
        is_time = is_lasting and now_s - self._logged_at >= (LINE_SECONDS_MIN if is_news else self._interval_s)
        if not is_first_step and not is_time:
            return None
        self._has_gone_on = self._has_gone_on or is_first_step
        self._interval_s = LINE_SECONDS_MIN if is_news else min(2 * self._interval_s, LINE_SECONDS_MAX)
        self._logged, self._logged_at = stage, now_s
        return line_of(stage, status)


def stage_of(status: NodeStatus) -> Stage:
    """Where the peer is on its way."""
    order = status.order
    if _lacks_peers(status):
        return Stage.LACKS_PEERS
    if status.behind_by >= BEHIND_MIN:
        return Stage.CATCHES_UP
    if status.waiting_for_payloads or (order is not None and order.waiting_for):
        return Stage.STANDS_STILL
    return Stage.GOES_ON if status.height else Stage.HAS_NO_STEP


def line_of(stage: Stage, status: NodeStatus) -> str:
    """The stage in words, with the figures that a person would ask for."""
    match stage:
        case Stage.LACKS_PEERS:
            return f"{_lacking(status)}; {_figures(status)}"
        case Stage.CATCHES_UP:
            return f"catches up: {_steps(status, status.behind_by)} behind; {_figures(status)}"
        case Stage.STANDS_STILL:
            return f"waits for {status.waiting_for_payloads or _awaited_members(status.order)}; {_figures(status)}"
        case Stage.HAS_NO_STEP:
            return f"no step of the model yet; {_figures(status)}"
        case Stage.GOES_ON:
            return _figures(status)


def _lacks_peers(status: NodeStatus) -> bool:
    order = status.order
    return not status.peers if order is None else _connected_members(order) < order.quorum


def _lacking(status: NodeStatus) -> str:
    order = status.order
    if order is not None:
        connected, members = _connected_members(order), counted(len(order.members), "member")
        return f"waits for peers: {connected} of {members} here, {order.quorum} are needed"
    return "waits for peers: none is connected" if status.is_observer else "no peer is connected: goes on alone"


def _connected_members(order: OrderStatus) -> int:
    """Members, we ourselves among them where we are one."""
    return sum(member.is_connected for member in order.members)


def _awaited_members(order: OrderStatus | None) -> str:
    assert order is not None, "else nothing stands still"
    named = [short(peer) for peer in order.waiting_for[:NAMED_MAX]]
    more = ["..."] if len(order.waiting_for) > NAMED_MAX else []
    return f"{len(order.waiting_for)} of {counted(len(order.members), 'member')}: {', '.join(named + more)}"


def _steps(status: NodeStatus, number: int) -> str:
    return counted(number, "block" if status.order is None else "commit")


def _figures(status: NodeStatus) -> str:
    figures = [metric(name, value) for name, value in sorted(status.metrics.items())]
    heights = f"height {status.height or 0:,}, final {status.final_height or 0:,}"
    return ", ".join((heights, counted(len(status.peers), "peer"), *figures))
