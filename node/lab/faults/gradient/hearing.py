"""What an omniscient attacker knows: the newest gradient of every other worker."""

from dataclasses import dataclass, field

import numpy as np

from learning.task import Float32Array


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
