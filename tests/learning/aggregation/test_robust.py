"""Inner products against python integers, and the table that remembers them.

The default rule: whole steps against a twin, and what no liar may gain.
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.aggregation.quantised import EXPONENT_MAX, QuantisedGradient, inner, quantise
from learning.aggregation.robust import AGE_TURNS, CHUNK_VALUES, UNIT_EXPONENT, ProductTable, Robust, inner_units
from learning.aggregation.rule import AggregationResult, ArrivedGradient, GradientOutcome, RuleMemory, Workers
from learning.task import ParameterBlock
from tests.learning.gradient.tiny import PARAMETERS, Network, gradient_of, group_of, worker

numbers = st.floats(-(2.0**66), 2.0**66, width=32)
gradients = st.lists(numbers, min_size=3, max_size=3).map(gradient_of)


def exact_values(gradient: QuantisedGradient) -> list[Fraction]:
    values, found, first = gradient.values.tolist(), [], 0
    for size, exponent in zip(gradient.sizes, gradient.exponents, strict=True):
        found += [value * Fraction(2) ** exponent for value in values[first : first + size]]
        first += size
    return found


def slow_inner(first: QuantisedGradient, second: QuantisedGradient) -> Fraction:
    return sum((x * y for x, y in zip(exact_values(first), exact_values(second), strict=True)), Fraction(0))


@given(gradients, st.lists(gradients, min_size=1, max_size=5))
def test_products_are_those_of_python_integers(own: QuantisedGradient, others: list[QuantisedGradient]) -> None:
    found = [product * Fraction(2) ** UNIT_EXPONENT for product in inner_units(own, others)]
    assert found == [slow_inner(own, other) for other in others]


def test_products_of_several_chunks_and_both_widths_are_exact() -> None:
    layout = (ParameterBlock("a", (2 * CHUNK_VALUES + 5,), 1), ParameterBlock("b", (3,), 1))
    generator = np.random.default_rng(1)
    vectors = generator.standard_normal((3, 2 * CHUNK_VALUES + 8)).astype(np.float32)
    own, wide, narrow = (quantise(vector, layout, bits) for vector, bits in zip(vectors, (16, 16, 8), strict=True))
    assert own is not None
    assert wide is not None
    assert narrow is not None
    found = [product * Fraction(2) ** UNIT_EXPONENT for product in inner_units(own, [wide, narrow, own])]
    assert found == [inner(own, wide), inner(own, narrow), inner(own, own)]


@settings(max_examples=50)
@given(st.lists(gradients, min_size=4, max_size=8, unique_by=lambda gradient: gradient.digest), st.data())
def test_the_table_answers_as_a_new_one_whatever_was_asked_before_and_keeps_no_more_than_was_asked_last(
    known: list[QuantisedGradient], data: st.DataObject
) -> None:
    table = ProductTable()
    for _ in range(3):
        asked = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=5, unique_by=lambda gradient: gradient.digest))
        assert table.of(asked) == ProductTable().of(asked)
        assert {digest: len(row) for digest, row in table.rows.items()} == {gradient.digest: len(asked) for gradient in asked}


vectors = st.tuples(*[st.integers(-9, 9)] * PARAMETERS)


def sixteen_bits(factor: float) -> float:
    mantissa, exponent = np.frexp(factor)
    return float(np.ldexp(np.floor(mantissa * 2**16), exponent - 16))


class SlowRobust:
    """The docstring of the rule, step by step, in float64."""

    def __init__(self, size: int, faulty_max: int) -> None:
        self.size, self.faulty_max = size, faulty_max
        self.slots: dict[int, tuple[int, np.ndarray]] = {}
        self.average: np.ndarray | None = None

    def judge(self, author: int, base: int, version: int, vector: np.ndarray) -> np.ndarray | GradientOutcome:
        if any((kept == vector).all() for who, (_, kept) in self.slots.items() if who != author):
            return GradientOutcome.COPY
        self.slots[author] = (base, vector)
        used = [self.slots[who] for who in sorted(self.slots) if version - self.slots[who][0] <= AGE_TURNS * self.size]
        if len(used) < self.size - self.faulty_max:
            return GradientOutcome.COLLECTED
        aggregate = self.aggregate([kept for _, kept in used])
        average = aggregate if self.average is None else self.average
        step = aggregate + 3 * (aggregate - average)
        self.average = average + min(1.0, 2 / self.size) * (aggregate - average)
        staleness = sorted(version - at for at, _ in used)[(len(used) - 1) // 2]
        return step / max(self.size, 1 + staleness)

    def aggregate(self, kept: list[np.ndarray]) -> np.ndarray:
        lengths = [float(np.sqrt((vector**2).sum())) for vector in kept]
        median = sorted(lengths)[(len(kept) - 1) // 2]
        clipped = [vector * sixteen_bits(min(1.0, median / length)) for vector, length in zip(kept, lengths, strict=True)]
        mixed = []
        for own, vector in enumerate(clipped):
            far = [(float(((vector - other) ** 2).sum()), place) for place, other in enumerate(clipped)]
            near = sorted(far, key=lambda pair: (pair[1] != own, pair))[: len(clipped) - self.faulty_max]
            mixed.append(np.mean([clipped[place] for _, place in near], axis=0))
        return np.sort(mixed, axis=0)[self.faulty_max : len(mixed) - self.faulty_max].mean(axis=0)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([1, 4, 7]),
    seed=st.integers(0, 2**32),
    scales=st.lists(st.sampled_from([1.0, 30.0, 0.01]), min_size=7, max_size=7),
)
def test_it_does_what_its_docstring_says(size: int, seed: int, scales: list[float]) -> None:
    generator = np.random.default_rng(seed)
    group, rule, memory = group_of(size), Robust(), RuleMemory()
    twin = SlowRobust(size, group.faulty_max)
    version = 0
    for _ in range(6 * size):
        author = int(generator.integers(0, size))
        gradient = gradient_of((generator.standard_normal(PARAMETERS) * scales[author]).tolist())
        base = max(0, version - int(generator.integers(0, 4)))
        ruling = rule.judge(
            memory, ArrivedGradient(worker(author), base, version, gradient), group, Network(rule, group).ledger
        )
        expected = twin.judge(author, base, version, gradient.dense().astype(np.float64))
        memory = ruling.memory
        if isinstance(expected, GradientOutcome):
            assert (ruling.outcome, ruling.step) == (expected, None)
            continue
        version += 1
        assert ruling.outcome is GradientOutcome.APPLIED
        assert ruling.step is not None
        np.testing.assert_allclose(ruling.step, expected, rtol=1e-4, atol=1e-4)


class Crowd:
    """Deliveries to one rule, with no model behind them: the version is ours to say."""

    def __init__(self, size: int = 7) -> None:
        self.group, self.rule, self.memory = group_of(size), Robust(), RuleMemory()

    def deliver(self, place: int, values: list[float], base: int = 0, version: int = 0) -> AggregationResult:
        arrival = ArrivedGradient(worker(place), base, version, gradient_of(values))
        ruling = self.rule.judge(self.memory, arrival, self.group, Network(self.rule, self.group).ledger)
        self.memory = ruling.memory
        return ruling


def test_it_collects_until_n_minus_f_workers_have_spoken() -> None:
    crowd = Crowd(7)
    outcomes = [crowd.deliver(place, [1.0, float(place), 0.0]).outcome for place in (0, 1, 2, 3, 3, 4)]
    assert outcomes == [GradientOutcome.COLLECTED] * 5 + [GradientOutcome.APPLIED]


def test_identical_vectors_count_once_and_for_who_was_delivered_earlier() -> None:
    crowd = Crowd(4)
    crowd.deliver(2, [5.0, 5.0, 5.0])
    crowd.deliver(0, [1.0, 2.0, 3.0])
    ruling = crowd.deliver(2, [1.0, 2.0, 3.0])
    assert ruling.outcome is GradientOutcome.COPY
    assert [(slot.author, slot.gradient) for slot in ruling.memory.slots] == [
        (worker(0), gradient_of([1.0, 2.0, 3.0])),
        (worker(2), gradient_of([5.0, 5.0, 5.0])),
    ]
    assert crowd.deliver(0, [1.0, 2.0, 3.0]).outcome is GradientOutcome.COLLECTED


def test_who_is_no_worker_any_more_has_no_part() -> None:
    crowd = Crowd(4)
    for place in range(4):
        crowd.deliver(place, [1.0, float(place), 0.0])
    crowd.group = group_of(2)
    ruling = crowd.deliver(0, [1.0, 2.0, 0.0])
    assert (ruling.outcome, [author for author, _ in ruling.weights]) == (GradientOutcome.APPLIED, [worker(0), worker(1)])


def test_a_slot_that_is_too_old_has_no_part() -> None:
    crowd = Crowd(4)
    crowd.deliver(3, [9.0, 9.0, 9.0])
    version = 4 * AGE_TURNS + 1
    for place in range(2):
        assert crowd.deliver(place, [1.0, float(place), 0.0], version, version).outcome is GradientOutcome.COLLECTED
    ruling = crowd.deliver(2, [1.0, 2.0, 0.0], version, version)
    assert (ruling.outcome, [author for author, _ in ruling.weights]) == (
        GradientOutcome.APPLIED,
        [worker(place) for place in range(3)],
    )


def test_nobody_is_paid_for_being_fresh() -> None:
    steps = []
    for base in (20, 30, 40):
        crowd = Crowd(4)
        for place in range(3):
            crowd.deliver(place, [1.0, float(place), 0.0], 20, 40)
        steps.append(crowd.deliver(3, [1.0, 3.0, 0.0], base, 40).step)
    assert steps[0] is not None
    assert all(step is not None and (step == steps[0]).all() for step in steps)


def test_a_flood_overwrites_its_authors_own_slot_alone() -> None:
    crowd = Crowd(7)
    for place in range(6):
        crowd.deliver(place, [1.0, float(place), 0.0])
    for copy in range(30):
        crowd.deliver(6, [-50.0, -50.0, float(copy)])
    assert [slot.author for slot in crowd.memory.slots] == [worker(place) for place in range(7)]
    assert len(crowd.memory.vectors) == 1


@settings(max_examples=50)
@given(st.lists(vectors, min_size=5, max_size=5, unique=True), st.sampled_from([1.0, 1e6, 1e23]), st.booleans())
def test_f_liars_move_the_model_no_farther_than_the_honest_could(
    honest: list[tuple[int, ...]], scale: float, lie_first: bool
) -> None:
    crowd = Crowd(7)
    lies = [(5, [scale, -scale, scale]), (6, [scale, -scale, 0.9 * scale])]
    truths = [(place, [value + 0.125 * place for value in vector]) for place, vector in enumerate(honest)]
    for place, vector in [*lies, *truths] if lie_first else [*truths, *lies]:
        ruling = crowd.deliver(place, vector)
    assert ruling.step is not None
    longest = max(float(np.linalg.norm(vector)) for _, vector in truths)
    assert np.abs(ruling.step).max() <= (1 + 2 * 3) * longest * 1.001 / 7


def test_vectors_at_the_ends_of_the_range_give_a_finite_step() -> None:
    largest = float(32_767 * 2.0**EXPONENT_MAX)
    crowd = Crowd(7)
    small = [[0.0, 0.0, 1e-30], [1e-45, 0.0, 0.0], [0.0, 1e-38, largest]]
    large = [[largest, largest, largest], [largest, 0.0, 0.0], [0.0, 0.0, largest / 2], [largest, 0.0, 1e-3]]
    rulings = [crowd.deliver(place, vector) for place, vector in enumerate([*small, *large])]
    steps = [ruling.step for ruling in rulings if ruling.step is not None]
    assert len(steps) == 3
    assert all(np.isfinite(step).all() for step in steps)


def test_the_shares_sum_to_one_and_a_far_liar_has_the_least() -> None:
    crowd = Crowd(7)
    for place in range(6):
        crowd.deliver(place, [1.0, 0.01 * place, 0.0])
    ruling = crowd.deliver(6, [-1.0, 0.0, 0.0])
    shares = dict(ruling.weights)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares, key=lambda author: shares[author]) == worker(6)


@given(
    voices=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    values=st.lists(vectors, min_size=4, max_size=4, unique=True),
)
@settings(max_examples=40, deadline=None)
def test_a_worker_with_several_voices_counts_as_so_many_workers_of_one_vector(voices: list[int], values: list) -> None:
    faulty_max = (sum(voices) - 1) // 3
    crowd = Crowd(4)
    crowd.group = Workers(crowd.group.workers, faulty_max, tuple(voices))
    rulings = [crowd.deliver(place, list(values[place])) for place in range(4)]
    heard = np.cumsum(voices)
    outcomes = [ruling.outcome is GradientOutcome.APPLIED for ruling in rulings]
    assert outcomes == [bool(count >= sum(voices) - faulty_max) for count in heard]
    last = next(place for place, ruling in enumerate(rulings) if ruling.outcome is GradientOutcome.APPLIED)
    kept = [np.array(values[place], dtype=np.float64) for place in range(last + 1) for _ in range(voices[place])]
    step = rulings[last].step
    assert step is not None
    expected = SlowRobust(4, faulty_max).aggregate([gradient_of(list(vector)).dense().astype(np.float64) for vector in kept])
    share = float(crowd.group.share_of(worker(last)))
    np.testing.assert_allclose(step / share, expected, rtol=1e-4, atol=1e-4)


def test_many_keys_with_little_work_move_the_model_no_further_than_one_key_with_as_much() -> None:
    """Thirteen keys that led a block each, among four that led seventeen each."""
    honest, sybils = 4, 13
    crowd = Crowd(honest + sybils)
    crowd.group = replace(crowd.group, faulty_max=(honest * 17 + sybils - 1) // 3, voices=(17,) * honest + (1,) * sybils)
    for place in range(honest):
        crowd.deliver(place, [1.0, 0.01 * place, 0.0])
    for place in range(honest, honest + sybils):
        ruling = crowd.deliver(place, [-1.0, 0.01 * place, 0.0])
    assert ruling.step is not None
    assert ruling.step[0] > 0
    one_voice_each = Crowd(honest + sybils)
    for place in (*range(honest), *range(honest, honest + sybils)):
        ruling = one_voice_each.deliver(place, [1.0 if place < honest else -1.0, 0.01 * place, 0.0])
    assert ruling.step is not None
    assert ruling.step[0] < 0


def test_keys_that_have_led_a_block_and_stay_silent_slow_nobody_down() -> None:
    honest, silent = 4, 13
    crowd = Crowd(honest + silent)
    voices = (17,) * honest + (1,) * silent
    crowd.group = Workers(crowd.group.workers, (sum(voices) - 1) // 3, voices)
    alone = Crowd(honest)
    steps = []
    for place in range(honest):
        steps = [one.deliver(place, [1.0, 0.0, 0.01 * place]).step for one in (crowd, alone)]
    slowed, usual = steps
    assert slowed is not None
    assert usual is not None
    assert slowed[0] / usual[0] == pytest.approx(17 * honest / sum(voices), rel=1e-3)
