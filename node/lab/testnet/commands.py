"""Who lets events befall the peers of a running testnet, for a person (`inject`) or for a scenario.

Events travel as JSON from the command `inject` to the testnet's supervisor, on this machine.
"""

from typing import Protocol

from node.lab.scenarios.events import Event, PeerNumbers


class CommandExecutor(Protocol):
    """Who does it."""

    async def do(self, event: Event) -> str:
        """Let it befall the peers, and say in a line what was done.

        Raises NodeError where it cannot be done, naming the peer and its state.
        """
        ...


class Divider(Protocol):
    """How peers are kept apart: by their own refusal, or by the machine's network namespaces."""

    async def divide(self, groups: tuple[PeerNumbers, ...]) -> None:
        """Instead of an earlier division. Every peer is in exactly one group; a single group of all: nobody is kept apart."""
        ...
