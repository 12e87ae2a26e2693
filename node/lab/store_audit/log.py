"""What a peer's log says against others: refusals and accusations are in memory alone, and end with it."""

import re
from collections.abc import Iterator
from pathlib import Path

from consensus.effects import Accusation, Accuse, Offence, Refuse
from consensus.types import PeerId
from node.lab.checkers.finding import Event
from node.net.connection import SHORT_KEY_BYTES

LOG_NAME = "node.log"
"""In a peer's folder; a testnet has each of its peers write there."""

_OFFENCES = "|".join(re.escape(offence.value) for offence in Offence)
_KEY = rf"(?P<key>[0-9a-f]{{{2 * SHORT_KEY_BYTES}}})"
_LINE = re.compile(
    rf" WARNING (?:(?P<refused>refused )peer {_KEY}(?: at \S+)? for \S+ s: (?P<why>{_OFFENCES}): (?P<detail>.*)"
    rf"|peer (?P<accused>[0-9a-f]{{{2 * SHORT_KEY_BYTES}}}): (?P<offence>{_OFFENCES}) \((?P<found>.*)\))$"
)
"""Written by `node.net.transport.PeerNetwork.refuse` and by `node.runtime.driver.Driver`."""


class LogReader:
    """Remembers how far it has read: a peer appends to one log over all its incarnations."""

    def __init__(self, path: Path, peers: tuple[PeerId, ...]) -> None:
        self._path = path
        self._peers = {peer[:SHORT_KEY_BYTES].hex(): peer for peer in peers}
        self._read_bytes = 0

    def news(self) -> Iterator[Event]:
        """What was said since the last reading against peers that we know."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            found = _LINE.search(line)
            if found is not None:
                yield from self._events_of(found)

    def _events_of(self, line: re.Match[str]) -> Iterator[Event]:
        peer = self._peers.get(line["key"] or line["accused"])
        if peer is None:
            return
        if line["refused"]:
            yield Refuse(peer, Offence(line["why"]), line["detail"])
        else:
            yield Accuse(Accusation(peer, Offence(line["offence"]), line["found"], b""))
