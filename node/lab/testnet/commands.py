"""What may be done to the peers of a running testnet, by a person (`inject`) or by a scenario. Peers are named by number.

Commands travel as JSON from the command `inject` to the testnet's supervisor, on this machine.
"""

from typing import Protocol

import msgspec

PeerNumbers = tuple[int, ...]
"""0 is the testnet's first peer."""


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="command"):
    """Tagged, so that one decoder reads them all."""


class Kill(_Command, frozen=True, tag="kill"):
    """SIGKILL, as a power failure ends a machine; what is durable stays."""

    peers: PeerNumbers


class Pause(_Command, frozen=True, tag="pause"):
    """SIGSTOP for all processes of the peer."""

    peers: PeerNumbers


class Resume(_Command, frozen=True, tag="resume"):
    """SIGCONT."""

    peers: PeerNumbers


class Restart(_Command, frozen=True, tag="restart"):
    """Start peers from their folders; those that run are stopped in good order first, those that never ran join late."""

    peers: PeerNumbers


class Misbehave(_Command, frozen=True, tag="misbehave"):
    """Restart peers with this fault; the empty text makes them honest again, though nobody counts them as honest any more."""

    peers: PeerNumbers
    fault: str


class Partition(_Command, frozen=True, tag="partition"):
    """Only peers of one group reach each other, instead of an earlier partition; those in no group are one more group."""

    groups: tuple[PeerNumbers, ...]


class Heal(_Command, frozen=True, tag="heal"):
    """Everybody reaches everybody again."""


class Wipe(_Command, frozen=True, tag="wipe"):
    """Kill peers, and lose their databases; key and guard file are kept."""

    peers: PeerNumbers


class BackUp(_Command, frozen=True, tag="back-up"):
    """Copy the peers' databases as they are now."""

    peers: PeerNumbers


class RestoreOldDisk(_Command, frozen=True, tag="restore-old-disk"):
    """Kill peers, and put the copies in place of their databases; the guard files are as they were."""

    peers: PeerNumbers


Command = Kill | Pause | Resume | Restart | Misbehave | Partition | Heal | Wipe | BackUp | RestoreOldDisk


class CommandExecutor(Protocol):
    """Who does it."""

    async def do(self, command: Command) -> str:
        """Do it, and say in a line what was done. Raises NodeError where it cannot be done, naming the peer and its state."""
        ...


class Divider(Protocol):
    """How peers are kept apart: by their own refusal, or by the machine's network namespaces."""

    async def divide(self, groups: tuple[PeerNumbers, ...]) -> None:
        """Instead of an earlier division. Every peer is in exactly one group; a single group of all: nobody is kept apart."""
        ...
