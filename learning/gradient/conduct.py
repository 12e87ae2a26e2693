"""What a worker makes of the gradient that it has computed: an honest one submits it. Others are for tests and testnets."""

from typing import Protocol

from learning.task import Float32Array, Minibatch

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

    def heard(self, author: bytes, version: int, gradient: Float32Array) -> None:
        """Another worker's gradient has been delivered, (parameters,); `version`: of the model when it came."""
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

    def heard(self, author: bytes, version: int, gradient: Float32Array) -> None:
        """Of no interest."""

    def submissions(self, own: Float32Array) -> tuple[Submitted, ...]:
        """Our own."""
        return (own,)
