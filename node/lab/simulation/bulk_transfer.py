"""One peer's large bytes beside the order: the real node's side streams over simulated connections and the in-memory disk."""

from collections.abc import Callable
from functools import partial

from consensus.effects import FetchAttachment, FetchState
from consensus.types import PeerId
from node.lab.faults.consensus.withheld_parts import WithheldParts
from node.lab.simulation.disk import Disk
from node.lab.simulation.flooding import FRAME_BYTES
from node.lab.simulation.way import SimulatedOutbox
from node.net.bulk_transfer import TICK_SECONDS, BulkTransfer, Shell
from node.net.parts import PartServer
from node.net.wire import GetPart, Part

STATE_BYTES_MAX = 1 << 26
"""The longest state that is fetched: far above any toy task's."""

PAYLOAD_BYTES_MAX = 1 << 22
"""The longest payload that is fetched, which leaves room for as many at once as an ordering machine asks for."""

REQUEST_BYTES = FRAME_BYTES + 40
"""A digest and an offset."""


class LargeBytes:
    """Fetches and serves."""

    def __init__(self, way: SimulatedOutbox, at: "Callable[[PeerId], LargeBytes]", shell: Shell) -> None:
        """`at`: this part of another peer."""
        self._way = way
        self._at = at
        self._shell = shell
        self._streams = self._new_streams()
        self._server = self._new_server()
        self._has_tick_planned = False

    def start(self) -> None:
        """A new incarnation: nothing is under way."""
        self._streams = self._new_streams()
        self._server = self._new_server()
        self._has_tick_planned = False

    def fetch(self, effect: FetchAttachment | FetchState) -> None:
        """Answered later, or asked for again by the machine."""
        match effect:
            case FetchAttachment():
                self._streams.fetch_payload(effect)
            case FetchState():
                self._streams.fetch_state(effect)
        self._plan_tick()

    def ask_part(self, peer: PeerId, digest: bytes, offset: int) -> None:
        """Send one peer the question."""
        ask = partial(self._at(peer).asked, self._way.peer.id, GetPart(digest, offset))
        self._way.send(peer, REQUEST_BYTES, ask)

    def asked(self, asker: PeerId, question: GetPart) -> None:
        """Answer with what we hold, or as our fault says."""
        self._server.answer(asker, question, partial(self._give, asker))

    def on_part(self, other: PeerId, part: Part) -> None:
        """A part that we may have asked for."""
        self._streams.on_part(other, part)

    def _give(self, asker: PeerId, part: Part) -> None:
        hand = partial(self._at(asker).on_part, self._way.peer.id, part)
        self._way.send(asker, REQUEST_BYTES + len(part.content), hand)

    def _new_streams(self) -> BulkTransfer:
        streams = BulkTransfer(
            _Rows(self._way.peer.disk),
            self,
            state_bytes_max=STATE_BYTES_MAX,
            payload_bytes_max=PAYLOAD_BYTES_MAX,
            clock=lambda: self._way.seconds,
        )
        streams.driver = self._shell
        return streams

    def _new_server(self) -> WithheldParts:
        peer = self._way.peer
        honest = PartServer(_Rows(peer.disk), frozenset(), lambda: self._way.seconds)
        return WithheldParts(honest, peer.serving_of, self._way.after)

    def _plan_tick(self) -> None:
        if self._streams.under_way and not self._has_tick_planned:
            self._has_tick_planned = True
            self._way.after(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._has_tick_planned = False
        self._streams.tick()
        self._plan_tick()


class _Rows:
    """A disk as the side streams read it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under this key."""
        return self._disk.rows.get((table, key))

    def has(self, table: str, key: bytes) -> bool:
        """Whether there is one."""
        return (table, key) in self._disk.rows
