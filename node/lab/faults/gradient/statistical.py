"""Attacks that are made of the honest workers' gradients. Powers: the newest gradient of every worker, and who colludes."""

import numpy as np

from learning.task import Float32Array, Float64Array
from node.lab.faults.gradient.conduct import Hearing, Submitted

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
