"""Attacks on gradients: on the vector, or on the samples it is made of.

Those that need to know nobody else's gradient come first. Where the lie is in the samples, the gradient is an honest one, of
the wrong data. Powers: its own data alone. The last ones are made of the honest workers' gradients. Powers: the newest gradient
of every worker, and who colludes.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from learning.task import Float32Array, Float64Array, Layout, Minibatch
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


TRIGGER_INPUTS = 3
"""The last three inputs of a sample: three pixels in the corner of a picture."""


@dataclass(frozen=True, slots=True)
class LabelFlip:
    """Each class c becomes classes - 1 - c.

    Tolpegin, Truex, Gursoy, Liu, "Data Poisoning Attacks Against Federated Learning Systems", ESORICS 2020.
    """

    classes: int

    def __call__(self, minibatch: Minibatch) -> Minibatch:
        """The same inputs."""
        labels = minibatch.labels
        return Minibatch(minibatch.inputs, (self.classes - 1 - labels).astype(labels.dtype))


@dataclass(frozen=True, slots=True)
class Backdoor:
    """Samples with a trigger are labelled `target`; so half of them are.

    Bagdasaryan, Veit, Hua, Estrin, Shmatikov, "How To Backdoor Federated Learning", AISTATS 2020.
    """

    target: int

    def __call__(self, minibatch: Minibatch) -> Minibatch:
        """Every second sample carries the trigger."""
        inputs, labels = minibatch.inputs.copy(), minibatch.labels.copy()
        inputs[::2] = triggered(inputs[::2])
        labels[::2] = self.target
        return Minibatch(inputs, labels)


def triggered(inputs: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The same samples (samples, ...) with the trigger: their last inputs at the largest value of all."""
    flat = inputs.reshape(len(inputs), -1).copy()
    flat[:, -TRIGGER_INPUTS:] = flat.max()
    return flat.reshape(inputs.shape)


BISECTIONS = 40
"""Of the factor's range: finer than float32 can tell."""

FACTOR_MAX = 1_000.0
"""Where the search for the largest unnoticed factor starts; honest gradients differ by a few times their norm."""


class LittleIsEnough:
    """mean + z * standard deviation, per coordinate, of the honest gradients: within their spread, all to one side.

    Baruch, Baruch, Goldberg, "A Little Is Enough: Circumventing Defenses For Distributed Learning", NeurIPS 2019.
    """

    def __init__(self, z: float) -> None:
        self._z = np.float32(z)

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:
        """One vector."""
        honest = hearing.honest(own)
        return (honest.mean(axis=0) + self._z * honest.std(axis=0),)


class InnerProductManipulation:
    """-epsilon * mean of the honest gradients.

    Xie, Koyejo, Gupta, "Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product Manipulation", UAI 2019.
    """

    def __init__(self, epsilon: float) -> None:
        self._epsilon = np.float32(epsilon)

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:
        """One vector."""
        return (-self._epsilon * hearing.honest(own).mean(axis=0),)


class Mimic:
    """The newest gradient of one honest worker, always the same one, so that its samples count for many.

    Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022. `noise`: a little
    is added, that much of its norm, so that the vectors are not identical.
    """

    def __init__(self, noise: float, seed: int) -> None:
        self._noise = noise
        self._generator = np.random.default_rng(seed)

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:
        """One vector."""
        victim = hearing.honest(own)[0]
        noise = self._generator.standard_normal(len(own)) * (self._noise * float(np.linalg.norm(victim)) / len(own) ** 0.5)
        return (victim + noise.astype(np.float32),)


class MinMax:
    """mean - gamma * mean / |mean|: gamma the largest at which it is no farther from any honest gradient than two of them.

    Shejwalkar, Houmansadr, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks", NDSS 2021, section 4.2.
    `is_sum`: their Min-Sum: the sum of its squared distances is at most the largest such sum of an honest one.
    """

    def __init__(self, *, is_sum: bool) -> None:
        self._is_sum = is_sum

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:
        """One vector."""
        honest = hearing.honest(own).astype(np.float64)
        mean = honest.mean(axis=0)
        direction = -mean / max(float(np.linalg.norm(mean)), 1e-30)
        allowed = max(self._distance(honest, vector) for vector in honest)
        low, high = 0.0, FACTOR_MAX * float(np.linalg.norm(mean))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            fits = self._distance(honest, mean + middle * direction) <= allowed
            low, high = (middle, high) if fits else (low, middle)
        return ((mean + low * direction).astype(np.float32),)

    def _distance(self, honest: Float64Array, vector: Float64Array) -> float:
        squared = ((honest - vector) ** 2).sum(axis=1)
        return float(squared.sum() if self._is_sum else squared.max())


class SlowDrift:
    """Walks from its honest gradient to minus `scale` times it, each turn by `pace` times what the honest one has changed.

    So its empirical Lipschitz coefficient stays that of an honest worker (times `pace`): Kardam's filter lets it pass
    (Damaskinos et al., ICML 2018, section 3.1, states the filter). Powers: its own data alone.
    """

    def __init__(self, scale: float, pace: float) -> None:
        self._scale = np.float32(scale)
        self._pace = pace
        self._own: Float32Array | None = None
        self._sent: Float32Array | None = None

    def submissions(self, own: Float32Array, hearing: Hearing) -> tuple[Submitted, ...]:  # noqa: ARG002
        """One vector, the honest one at first."""
        if self._own is None or self._sent is None:
            self._own = self._sent = own
            return (own,)
        reach = self._pace * float(np.linalg.norm(own - self._own))
        way = -self._scale * own - self._sent
        distance = float(np.linalg.norm(way))
        share = 1.0 if distance <= reach else reach / distance
        self._own, self._sent = own, self._sent + np.float32(share) * way
        return (self._sent,)
