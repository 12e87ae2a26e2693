"""Every rule of the catalogue: the honest alone always get on, and equal deliveries give equal ledgers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.catalogue import RULES, rule_named
from learning.gradient.ledger import ledger_digest
from tests.learning.gradient.tiny import PARAMETERS, Network, group_of, worker

VERSIONS = 50
ROUNDS_MAX = 3 * VERSIONS
"""In a round every live worker delivers once; one version takes three rounds at most."""

ALONE = tuple(name for name, entry in RULES.items() if not entry.needs_scores)
"""Those that move a model by gradients alone."""

VARIANTS = ("kardam:frequency=off", "kardam:lipschitz=off", "buffered:buffers=1", "buffered:buffers=1024,aggregate=trimmed")


class Crowd:
    """Honest workers of bowl-shaped losses, in a fresh random order each round; f random ones are liars, or silent."""

    def __init__(self, rule: str, size: int, seed: int, *, noise: float, staleness: int) -> None:
        self.net = Network(rule_named(rule), group_of(size), learning_rate=0.125)
        self.noise, self.staleness = noise, staleness
        self.generator = np.random.Generator(np.random.Philox(key=seed))
        self.liars = self.generator.permutation(size).tolist()[: self.net.group.faulty_max]

    def base(self, place: int) -> int:
        """A model that the worker has not yet had a gradient accepted on, up to `staleness` versions old."""
        version = self.net.ledger.version
        taken = dict(self.net.ledger.bases).get(worker(place), -1)
        oldest = max(taken + 1, version - int(self.generator.integers(0, self.staleness + 1)), 0)
        return min(oldest, version)

    def round(self, liars_send: bool) -> None:
        """Liars send a constant vector: Kardam's filter gives it the coefficient 0."""
        for place in self.generator.permutation(self.net.group.size).tolist():
            if place not in self.liars:
                self.net.deliver(place, self.gradient(place), self.base(place))
            elif liars_send:
                self.net.deliver(place, [30.0, -30.0, 30.0], self.base(place))

    def gradient(self, place: int) -> list[float]:
        """The present model minus the worker's own optimum, with noise: none makes it repeat itself until the model moves."""
        noise = self.noise * self.generator.standard_normal(PARAMETERS)
        return (self.net.ledger.parameters + np.float32(3 + place / 8) + noise).tolist()

    def rounds_until(self, version: int, rounds_max: int) -> int:
        """Rounds of the honest alone that it takes; one more than the limit where it is not reached."""
        for rounds in range(rounds_max + 1):
            if self.net.ledger.version >= version:
                return rounds
            self.round(liars_send=False)
        return rounds_max + 1


@pytest.mark.parametrize("size", [4, 7, 16])
@pytest.mark.parametrize("rule", [*ALONE, *VARIANTS])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_n_minus_f_workers_never_wait_for_ever_for_the_others(rule: str, size: int, noise: float) -> None:
    for seed, liars_first in ((1, False), (2, False), (3, True)):
        crowd = Crowd(rule, size, seed, noise=noise, staleness=3)
        for _ in range(5 if liars_first else 0):
            crowd.round(liars_send=True)
        start = crowd.net.ledger.version
        assert crowd.rounds_until(start + VERSIONS, ROUNDS_MAX) <= ROUNDS_MAX


@pytest.mark.parametrize("rule", ALONE)
def test_one_lonely_worker_gets_on(rule: str) -> None:
    assert Crowd(rule, 1, 3, noise=1.0, staleness=0).rounds_until(VERSIONS, ROUNDS_MAX) <= ROUNDS_MAX


@pytest.mark.parametrize("rule", [*RULES, *VARIANTS])
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_equal_deliveries_give_equal_ledgers_bit_by_bit(rule: str, seed: int) -> None:
    ledgers = []
    for _ in range(2):
        crowd = Crowd(rule, 4, seed, noise=1.0, staleness=2)
        for _ in range(8):
            crowd.round(liars_send=True)
        ledgers.append(ledger_digest(crowd.net.ledger))
    assert ledgers[0] == ledgers[1]


@pytest.mark.parametrize("rule", ALONE)
def test_a_changing_group_stops_no_rule(rule: str) -> None:
    crowd = Crowd(rule, 7, 4, noise=1.0, staleness=2)
    for size in (7, 4, 10, 5, 1, 16, 4):
        crowd.net.group = group_of(size)
        crowd.liars = crowd.liars[: crowd.net.group.faulty_max]
        start = crowd.net.ledger.version
        assert crowd.rounds_until(start + 5, 30) <= 30
        assert all(slot.author in crowd.net.group.workers for slot in crowd.net.ledger.memory.slots)
