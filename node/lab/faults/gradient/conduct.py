"""What a worker makes of the gradient that it has computed: an honest one submits it, a faulty one an attack."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from learning.task import Float32Array, Minibatch


@dataclass(slots=True)
class Hearing:
    """The newest gradient of each worker, by author. `colluders`: whose gradients are lies, the listener among them."""

    colluders: frozenset[bytes]
    newest: dict[bytes, Float32Array] = field(default_factory=dict)

    def note(self, author: bytes, gradient: Float32Array) -> None:
        """Another worker's gradient, (parameters,), was delivered."""
        self.newest[author] = gradient

    def honest(self, own: Float32Array) -> Float32Array:
        """The newest honest gradients by ascending author, and our own computed one last: (gradients, parameters)."""
        others = [self.newest[author] for author in sorted(self.newest) if author not in self.colluders]
        return np.stack([*others, own])


Submitted = Float32Array | bytes
"""A vector, (parameters,), that the worker quantises; or the bytes of a payload as they are, which only a liar sends."""


class Conduct(Protocol):
    """The three places where a worker could lie: on what it computes, what it submits, and which model it names."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def names_newest_model(self) -> bool:
        """Whether it claims the newest model that it knows when it submits, whatever model it has computed on."""
        ...

    def minibatch(self, minibatch: Minibatch) -> Minibatch:
        """What the gradient is computed on, in place of the samples drawn."""
        ...

    def on_gradient(self, author: bytes, gradient: Float32Array) -> None:
        """Another worker's gradient, (parameters,), has been delivered."""
        ...

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        """What to submit in place of our own gradient (momentum included), (parameters,): none, one, or several."""
        ...


class HonestConduct:
    """Submits what it has computed. Implements `Conduct`."""

    name = "honest"
    names_newest_model = False

    def minibatch(self, minibatch: Minibatch) -> Minibatch:
        """As drawn."""
        return minibatch

    def on_gradient(self, author: bytes, gradient: Float32Array) -> None:
        """Of no interest."""

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        """Our own."""
        return (own,)


class Attack(Protocol):
    """What a faulty worker submits."""

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:
        """In place of `own`, the gradient that it has computed, momentum included, (parameters,)."""
        ...


class FaultyConduct:
    """The shape that all gradient faults share: an attack on the vectors, one on the samples, and a claim on the base."""

    def __init__(
        self,
        name: str,
        attack: Attack,
        colluders: frozenset[bytes],
        *,
        poison: Callable[[Minibatch], Minibatch] | None = None,
        names_newest_model: bool = False,
    ) -> None:
        """`colluders`: the ids of all liars, this one among them. `poison`: what becomes of its samples."""
        self.name = name
        self.names_newest_model = names_newest_model
        self._attack = attack
        self._poison = poison
        self._hearing = Hearing(colluders)

    def minibatch(self, minibatch: Minibatch) -> Minibatch:
        """As drawn, or poisoned."""
        return minibatch if self._poison is None else self._poison(minibatch)

    def on_gradient(self, author: bytes, gradient: Float32Array) -> None:
        """Kept until its author's next one."""
        self._hearing.note(author, gradient)

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        """The attack's."""
        return self._attack.submissions(own, self._hearing)
