"""Peers that do what a test says: a replica that answers inputs with given effects, and a learner that does nothing."""

import hashlib
from collections.abc import Callable

from consensus.effects import Effect
from consensus.protocol import Input, Received
from consensus.types import Instant, PeerId
from learning.learner import LearnerAnswer, LearnerRequest
from node.lab.simulation.links import Links
from node.lab.simulation.network import SimulatedNetwork
from node.lab.simulation.peer import Built, Watch, watch_nothing
from node.runtime.coupling import OuterEffect

START = Instant(1_800_000_000_000)

React = Callable[[Input], tuple[OuterEffect, ...]]


class NoMachine:
    """An ordering machine that is never asked."""

    def start(self, now: Instant) -> tuple[Effect, ...]:
        return ()

    def handle(self, event: Input, now: Instant) -> tuple[Effect, ...]:
        return ()


class Puppet:
    """Writes down what it hears, and answers as `react` says."""

    awaited = None

    def __init__(self, react: React) -> None:
        self.ordering = NoMachine()
        self.heard: list[tuple[int, Input]] = []
        self.react = react

    def start(self, now: Instant) -> tuple[OuterEffect, ...]:
        return ()

    def handle(self, event: Input, now: Instant) -> tuple[OuterEffect, ...]:
        self.heard.append((now - START, event))
        return self.react(event)

    def handle_answer(self, answer: LearnerAnswer, now: Instant) -> tuple[OuterEffect, ...]:
        return ()

    @property
    def messages(self) -> list[tuple[int, bytes]]:
        """When each message came, in ms since the start."""
        return [(at, event.message) for at, event in self.heard if isinstance(event, Received)]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for _, event in self.heard]


class IdleLearner:
    """Answers nothing, searches nothing."""

    is_searching = False

    def handle(self, request: LearnerRequest) -> tuple[LearnerAnswer, ...]:
        return ()

    def search(self) -> tuple[LearnerAnswer, ...]:
        return ()


class Stage:
    """Puppets in a network; `tell` makes one of them do something now."""

    def __init__(self, peers: int, links: Links, seed: int = 1, watch: Watch = watch_nothing) -> None:
        self.ids = [PeerId(hashlib.blake2b(b"%d" % number, digest_size=32).digest()) for number in range(peers)]
        self.lives: dict[PeerId, list[Puppet]] = {peer: [] for peer in self.ids}
        builds = [(peer, self._build(peer)) for peer in self.ids]
        self.network = SimulatedNetwork(seed, builds, links, START, watch=watch)
        self.network.run_for(0)

    def _build(self, peer: PeerId):
        def build(records, guard_round):
            puppet = Puppet(lambda event: ())
            self.lives[peer].append(puppet)
            return Built(puppet, IdleLearner())

        return build

    def puppet(self, number: int) -> Puppet:
        """The one of this number, in its present incarnation."""
        return self.lives[self.ids[number]][-1]

    def peer(self, number: int):
        return self.network.peers[self.ids[number]]

    def tell(self, number: int, *effects: OuterEffect) -> None:
        """Let a peer want these effects now, as an answer to an input that nobody else sees."""
        puppet = self.puppet(number)
        shell = self.network._shells[self.ids[number]]  # nobody outside asks a simulated peer for anything
        puppet.react, kept = (lambda event: effects), puppet.react
        shell.on_message(self.ids[number], b"told")
        puppet.heard.pop()
        puppet.react = kept
