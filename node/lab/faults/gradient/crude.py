"""Attacks that need to know nobody else's gradient."""

from collections import deque

import numpy as np

from learning.task import Float32Array, Layout
from node.lab.faults.gradient.conduct import Hearing, Submitted

EXPONENT_BYTE_MAX = 255
"""The largest exponent byte: 2**127 times any 16-bit value but 0 or 1 is infinity in float32."""


class Silent:
    """Submits nothing: a crash, or a worker that starves the others. Powers: none."""

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:  # noqa: ARG002
        """None."""
        return ()


class Truthful:
    """Submits its own gradient: for faults that lie on the samples, not on the vector."""

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = np.float32(scale)

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:  # noqa: ARG002
        """Our own, times the scale."""
        return (self._scale * own,)


class SignFlip:
    """Minus `scale` times its own gradient (Li, Xu, Chen, Giannakis, Ling, "RSA", AAAI 2019). Powers: its own data alone.

    `copies`: how many times in one turn.
    """

    def __init__(self, scale: float, copies: int = 1) -> None:
        self._scale = np.float32(scale)
        self._copies = copies

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:  # noqa: ARG002
        """The reversed vector, `copies` times."""
        return (-self._scale * own,) * self._copies


class RandomVector:
    """A Gaussian vector of `scale` times its own gradient's norm (Blanchard et al., "Krum", NIPS 2017, section 5).

    Powers: its own data alone.
    """

    def __init__(self, scale: float, seed: int) -> None:
        self._scale = scale
        self._generator = np.random.default_rng(seed)

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:  # noqa: ARG002
        """A new one each time."""
        noise = self._generator.standard_normal(len(own))
        length = self._scale * float(np.linalg.norm(own)) / float(np.linalg.norm(noise))
        return ((noise * length).astype(np.float32),)


class Zero:
    """All zeros: slows the others down, and no filter on growth sees it. Powers: none."""

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:  # noqa: ARG002
        """Zeros."""
        return (np.zeros_like(own),)


class Constant:
    """For ever minus `scale` times the gradient that it had when it began to lie: its Lipschitz coefficient is 0.

    So it passes Kardam's filter, which sees amplitude of change alone. Powers: its own data alone.
    """

    def __init__(self, scale: float) -> None:
        self._scale = np.float32(scale)
        self._vector: Float32Array | None = None

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:  # noqa: ARG002
        """The same vector each time."""
        if self._vector is None:
            self._vector = -self._scale * own
        return (self._vector,)


class OldGradient:
    """An honest gradient of its own, `age` turns old, on the newest model: staleness that the order cannot see.

    Powers: its own data alone.
    """

    def __init__(self, age: int) -> None:
        self._kept: deque[Float32Array] = deque(maxlen=age + 1)

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:  # noqa: ARG002
        """The oldest that it has kept."""
        self._kept.append(own)
        return (self._kept[0],)


class NotFinite:
    """A payload of the right length whose exponents say infinity. Powers: none."""

    def __init__(self, layout: Layout) -> None:
        values = sum(block.size for block in layout)
        self._payload = bytes([16]) + bytes([EXPONENT_BYTE_MAX] * len(layout)) + np.full(values, 32_767, dtype="<i2").tobytes()

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:  # noqa: ARG002
        """The bytes as they are."""
        return (self._payload,)
