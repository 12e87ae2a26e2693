"""The Lipschitz coefficient against fractions, with its written rules for what has no quotient.

Kardam against a twin that remembers everything and recomputes all from the paper's words, in fractions and plain floats.
"""

import math
import struct
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.kardam import TURN_CHUNK, Kardam, order_statistic, squared_coefficient, squared_model_distance
from learning.aggregation.rule import ArrivedGradient, GradientOutcome, RuleMemory, WorkerSlot
from learning.aggregation.single_steps import Dampening
from learning.gradient.ledger import ledger_digest
from learning.task import Float32Array
from tests.learning.gradient.tiny import PARAMETERS, Network, gradient_of, group_of, vector_of, worker

ALICE = worker(0)
OLD, NEW = (1.0, 2.0, 3.0), (1.0, 0.0, 4.0)
values = st.floats(width=32, allow_nan=False, allow_infinity=False)
small = st.integers(-50, 50)


class Models:
    """The window, from version 1 on: implements `PastModels`."""

    def __init__(self, *models: tuple[float, ...]) -> None:
        self._models = {version: vector_of(model) for version, model in enumerate(models, start=1)}

    def model(self, version: int) -> Float32Array | None:
        return self._models.get(version)


def coefficient(
    previous: tuple[int, tuple[float, ...]] | None,
    present: tuple[int, tuple[float, ...]],
    *models: tuple[float, ...],
    known: Fraction | None = None,
) -> Fraction | None:
    """Of a worker's (base, vector) after another."""
    slot = None if previous is None else WorkerSlot(ALICE, previous[0], gradient_of(previous[1]), coefficient=known)
    return squared_coefficient(slot, ArrivedGradient(ALICE, present[0], 9, gradient_of(present[1])), Models(*models))


@settings(max_examples=80, deadline=None)
@given(*[st.tuples(small, small, small) for _ in range(4)])
def test_it_is_the_growth_of_the_gradient_over_that_of_the_model_squared(
    first: tuple[int, ...], second: tuple[int, ...], start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    growth = sum((one - other) ** 2 for one, other in zip(first, second, strict=True))
    turn = sum((one - other) ** 2 for one, other in zip(start, end, strict=True))
    expected = Fraction(growth, turn) if turn else (Fraction(7) if growth == 0 else None)
    assert coefficient((1, first), (2, second), start, end, known=Fraction(7)) == expected


def test_a_first_gradient_has_none() -> None:
    assert coefficient(None, (1, OLD), NEW) is None


def test_a_previous_gradient_on_a_forgotten_model_counts_as_none() -> None:
    assert coefficient((0, OLD), (1, NEW), NEW) is None


@pytest.mark.parametrize("bases", [(1, 1), (1, 2)])
def test_on_equal_models_another_vector_has_none_and_the_same_keeps_what_it_had(bases: tuple[int, int]) -> None:
    first, second = bases
    assert coefficient((first, OLD), (second, NEW), OLD, OLD, known=Fraction(3)) is None
    assert coefficient((first, OLD), (second, OLD), OLD, OLD, known=Fraction(3)) == 3
    assert coefficient((first, OLD), (second, OLD), OLD, OLD) is None


def test_the_same_vector_on_another_model_has_the_coefficient_0() -> None:
    assert coefficient((1, OLD), (2, OLD), OLD, NEW) == 0


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(pairs=st.lists(st.tuples(values, values), min_size=1, max_size=9))
def test_a_distance_of_models_is_the_exact_one_but_for_rounding_and_0_only_for_equal_ones(
    pairs: list[tuple[float, float]],
) -> None:
    first, second = (np.array(column, dtype=np.float32) for column in zip(*pairs, strict=True))
    distance = squared_model_distance(first, second)
    exact = sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(first, second, strict=True))
    assert abs(distance - exact) <= exact * Fraction(20, 2**53)
    assert (distance == 0) == np.array_equal(first, second)


def test_the_smallest_and_the_largest_distances_are_numbers() -> None:
    largest = np.full(3, np.finfo(np.float32).max)
    least = np.array([0, 0, 1e-45], dtype=np.float32)
    assert squared_model_distance(least, np.zeros(3, dtype=np.float32)) == Fraction(1, 2**298)
    assert squared_model_distance(largest, -largest) > 2**256


def test_a_distance_adds_up_by_halves_in_each_chunk_and_over_the_chunks() -> None:
    size = 2 * TURN_CHUNK + 3
    first = np.random.Generator(np.random.Philox(key=3)).standard_normal(size, dtype=np.float32)
    squares = [float(value) ** 2 for value in first]

    def halved(parts: list[float]) -> float:
        padded = parts + [0.0] * ((1 << (len(parts) - 1).bit_length()) - len(parts))
        while len(padded) > 1:
            half = len(padded) // 2
            padded = [one + other for one, other in zip(padded[:half], padded[half:], strict=True)]
        return padded[0]

    expected = halved([halved(squares[start : start + TURN_CHUNK]) for start in range(0, size, TURN_CHUNK)])
    assert squared_model_distance(first, np.zeros(size, dtype=np.float32)) == Fraction(expected)


@given(table=st.lists(st.one_of(st.none(), st.fractions(0, 9)), min_size=1, max_size=20), data=st.data())
def test_the_order_statistic_is_that_entry_of_the_whole_sorted_table(table: list[Fraction | None], data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, len(table)))
    whole = sorted(math.inf if entry is None else entry for entry in table)
    found = order_statistic((entry for entry in table if entry is not None), rank)
    assert (math.inf if found is None else found) == whole[rank - 1]


LEARNING_RATE = 0.5

Delivery = tuple[int, tuple[int, ...], int]
"""Position of the author, its vector, how many versions old its base is."""

vectors = st.tuples(*[st.integers(-4, 4)] * PARAMETERS)
rules = st.builds(
    Kardam,
    lipschitz=st.booleans(),
    frequency=st.booleans(),
    dampening=st.sampled_from(Dampening),
    alpha=st.sampled_from(["0.2", "1.5"]),
    bootstrap=st.booleans(),
)


def deliveries(size: int) -> st.SearchStrategy[list[Delivery]]:
    return st.lists(st.tuples(st.integers(0, size - 1), vectors, st.sampled_from([0, 0, 0, 1, 2, 3])), min_size=20, max_size=50)


def float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


class SlowKardam:
    """Keeps every model and every delivery for ever."""

    def __init__(self, rule: Kardam, size: int, faulty_max: int, first: list[float], window: int) -> None:
        self.rule, self.size, self.faulty_max, self.window = rule, size, faulty_max, window
        self.models = [first]
        self.heard: list[tuple[int, tuple[int, ...], int]] = []
        self.moved = 0
        self.alone: list[int] = []
        self.coefficients: list[float | Fraction] = [math.inf] * size
        self.bases: list[set[int]] = [set() for _ in range(size)]

    def deliver(self, author: int, vector: tuple[int, ...], base: int) -> GradientOutcome:
        if any(known >= base for known in self.bases[author]):
            return GradientOutcome.REPEATED
        self._hear(author, vector, base)
        outcome = self._outcome(author, vector, base)
        if outcome in {GradientOutcome.APPLIED, GradientOutcome.COLLECTED}:
            self.bases[author].add(base)
        return outcome

    def _hear(self, author: int, vector: tuple[int, ...], base: int) -> None:
        before = [(other, there) for who, other, there in self.heard if who == author]
        self.heard.append((author, vector, base))
        if not before or before[-1][1] < self._version() - self.window:
            self.coefficients[author] = math.inf
            return
        other, there = before[-1]
        growth = sum((one - two) ** 2 for one, two in zip(vector, other, strict=True))
        first, second, third = ((one - two) ** 2 for one, two in zip(self.models[there], self.models[base], strict=True))
        turn = Fraction((first + third) + second)
        if turn:
            self.coefficients[author] = Fraction(growth) / turn
        elif growth:
            self.coefficients[author] = math.inf

    def _outcome(self, author: int, vector: tuple[int, ...], base: int) -> GradientOutcome:
        since = self.heard[self.moved :]
        distinct = list(dict.fromkeys(who for who, _, _ in reversed(since)))
        finite = [one for one in self.coefficients if one != math.inf]
        honest, voters = self.size - self.faulty_max, 2 * self.faulty_max + 1
        if self.rule.lipschitz and self.rule.bootstrap and len(finite) < honest:
            return self._median(distinct[:voters]) if len(distinct) >= voters else GradientOutcome.COLLECTED
        refusal = self._refusal(author, sorted(self.coefficients)[honest - 1])
        if refusal is None:
            self._move([float32(self._weight(self._version() - base) * value) for value in vector])
            self.alone.append(author)
            return GradientOutcome.APPLIED
        if self.rule.lipschitz and self.rule.bootstrap and len(distinct) >= honest:
            return self._median(distinct[:voters])
        return refusal

    def _refusal(self, author: int, limit: float | Fraction) -> GradientOutcome | None:
        own = self.coefficients[author]
        if self.rule.lipschitz and (own == math.inf or own > limit):
            return GradientOutcome.TOO_STEEP
        blocked = self.alone[-2 * self.faulty_max :] if self.faulty_max else []
        return GradientOutcome.TOO_FREQUENT if self.rule.frequency and author in blocked else None

    def _weight(self, staleness: int) -> float:
        match self.rule.dampening:
            case Dampening.NONE:
                exact = 1.0
            case Dampening.INVERSE:
                exact = 1 / (1 + staleness)
            case Dampening.EXPONENTIAL:
                exact = math.exp(-float(self.rule.alpha) * staleness)
        mantissa, exponent = math.frexp(exact)
        return math.ldexp(round(mantissa * 2**16), exponent - 16)

    def _median(self, voters: list[int]) -> GradientOutcome:
        newest = {who: vector for who, vector, _ in self.heard}
        columns = zip(*(newest[who] for who in voters), strict=True)
        self._move([float(sorted(column)[len(voters) // 2]) for column in columns])
        return GradientOutcome.APPLIED

    def _move(self, step: list[float]) -> None:
        present = self.models[-1]
        self.models.append([float32(now - float32(LEARNING_RATE * by)) for now, by in zip(present, step, strict=True)])
        self.moved = len(self.heard)

    def _version(self) -> int:
        return len(self.models) - 1


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(rule=rules, size=st.sampled_from([1, 4, 5, 7]), data=st.data())
def test_it_does_what_a_twin_without_any_economy_does(rule: Kardam, size: int, data: st.DataObject) -> None:
    group = group_of(size)
    net = Network(rule, group, staleness_max=3, learning_rate=LEARNING_RATE)
    twin = SlowKardam(rule, size, group.faulty_max, net.ledger.parameters.tolist(), 3)
    for place, vector, age in data.draw(deliveries(size)):
        base = max(net.ledger.version - age, 0)
        assert net.deliver(place, vector, base).outcome == twin.deliver(place, vector, base)
        assert net.ledger.parameters.tolist() == twin.models[-1]
        assert net.ledger.version == len(twin.models) - 1


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(size=st.sampled_from([4, 7, 10]), lipschitz=st.booleans(), data=st.data())
def test_any_2f_plus_1_consecutive_accepted_gradients_hold_f_plus_1_honest_ones(
    size: int, lipschitz: bool, data: st.DataObject
) -> None:
    """Kardam, section 3.2; whoever the liars are, whatever they send, and whatever steps of medians lie between."""
    group = group_of(size)
    net = Network(Kardam(lipschitz=lipschitz), group)
    liars = data.draw(st.permutations(group.workers))[: group.faulty_max]
    alone = []
    for place, vector, age in data.draw(deliveries(size)):
        judged = net.deliver(place, vector, max(net.ledger.version - age, 0))
        if judged.outcome is GradientOutcome.APPLIED and len(judged.weights) == 1:
            alone.append(judged.author)
    width = 2 * group.faulty_max + 1
    for first in range(len(alone) - width + 1):
        honest = [author for author in alone[first : first + width] if author not in liars]
        assert len(set(honest)) >= group.faulty_max + 1


def noisy(net: Network, generator: np.random.Generator) -> list[float]:
    """An honest gradient: downhill to the origin, with noise."""
    return (net.ledger.parameters + generator.standard_normal(PARAMETERS)).tolist()


def test_the_lipschitz_filter_alone_accepts_about_n_minus_f_of_n_honest_gradients() -> None:
    net = Network(Kardam(frequency=False, dampening=Dampening.NONE), group_of(16), learning_rate=0.03)
    generator = np.random.Generator(np.random.Philox(key=5))
    outcomes = []
    for _ in range(120):
        outcomes += [net.deliver(place, noisy(net, generator)).outcome for place in generator.permutation(16).tolist()]
    later = outcomes[320:]
    assert set(later) == {GradientOutcome.APPLIED, GradientOutcome.TOO_STEEP}
    assert later.count(GradientOutcome.APPLIED) / len(later) == pytest.approx(11 / 16, abs=0.06)


def test_without_bootstrap_nothing_is_ever_accepted() -> None:
    net = Network(Kardam(bootstrap=False), group_of(4))
    generator = np.random.Generator(np.random.Philox(key=6))
    outcomes = {net.deliver(turn % 4, noisy(net, generator)).outcome for turn in range(100)}
    assert (outcomes, net.ledger.version) == ({GradientOutcome.TOO_STEEP}, 0)


def test_the_first_step_is_the_median_of_the_first_2f_plus_1_workers_and_blocks_nobody() -> None:
    net = Network(Kardam(), group_of(4))
    outcomes = [net.deliver(place, vector).outcome for place, vector in enumerate([(1, 0, 9), (2, 5, 8), (99, -99, -99)])]
    assert outcomes == [GradientOutcome.COLLECTED, GradientOutcome.COLLECTED, GradientOutcome.APPLIED]
    assert net.ledger.parameters.tolist() == [1 - 0.5 * 2, -1 - 0.5 * 0, 0.5 - 0.5 * 8]
    assert net.ledger.memory.recent == ()


def settled(size: int) -> Network:
    """Every worker has a finite coefficient."""
    net = Network(Kardam(dampening=Dampening.NONE), group_of(size), learning_rate=0.25)
    generator = np.random.Generator(np.random.Philox(key=7))
    while len([slot for slot in net.ledger.memory.slots if slot.coefficient is not None]) < size:
        for place in range(size):
            net.deliver(place, noisy(net, generator))
    return net


def test_a_worker_cannot_pass_by_sending_a_refused_gradient_twice() -> None:
    net = settled(4)
    assert [net.deliver(0, (1e6, 1e6, 1e6)).outcome for _ in range(3)] == [GradientOutcome.TOO_STEEP] * 3


def test_when_all_honest_workers_are_refused_and_only_repeat_themselves_the_median_moves_the_model() -> None:
    """f liars have sent nothing but a constant vector, and fall silent: 2 honest ones came too often, the third grows most."""
    net = Network(Kardam(), group_of(4), learning_rate=1.0)
    sent = [(1, 1, 1), (2, 2, 2), (3, 3, 3), (-9, -9, -9)]
    slots = tuple(
        WorkerSlot(worker(place), 0, gradient_of(vector), place + 1, Fraction(coefficient))
        for place, (vector, coefficient) in enumerate(zip(sent, (1, 1, 5, 0), strict=True))
    )
    net.ledger = replace(net.ledger, memory=RuleMemory(4, slots, (worker(0), worker(1)), counts=(4,)))
    before = net.ledger.parameters.copy()
    outcomes = [net.deliver(place, sent[place]).outcome for place in (0, 2, 0, 2, 1)]
    frequent, steep = GradientOutcome.TOO_FREQUENT, GradientOutcome.TOO_STEEP
    assert outcomes == [frequent, steep, frequent, steep, GradientOutcome.APPLIED]
    assert (before - net.ledger.parameters).tolist() == [2, 2, 2]


def test_a_worker_that_leaves_the_group_leaves_no_trace_in_the_table() -> None:
    net = settled(5)
    net.group = replace(net.group, workers=net.group.workers[1:])
    net.deliver(2, (1, 1, 1))
    assert [slot.author for slot in net.ledger.memory.slots] == [worker(place) for place in (1, 2, 3, 4)]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(stream=deliveries(4), outsiders=st.lists(st.tuples(st.integers(0, 50), vectors), max_size=20))
def test_what_outsiders_send_matters_to_no_part_of_the_ledger(
    stream: list[Delivery], outsiders: list[tuple[int, tuple[int, ...]]]
) -> None:
    quiet, crowded = Network(Kardam(), group_of(4)), Network(Kardam(), group_of(4))
    for turn, (place, vector, age) in enumerate(stream):
        for when, noise in outsiders:
            if when == turn:
                assert crowded.deliver(9, noise).outcome == GradientOutcome.NOT_A_WORKER
        base = max(quiet.ledger.version - age, 0)
        assert quiet.deliver(place, vector, base) == crowded.deliver(place, vector, base)
    assert ledger_digest(quiet.ledger) == ledger_digest(crowded.ledger)
